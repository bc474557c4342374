-- Fills an array without end, and does not care: the host has to.

print('endless: filling an array')
local list = {}
while true do list[#list + 1] = {number = #list} end
