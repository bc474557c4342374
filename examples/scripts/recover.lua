-- Fills an array until memory is refused, catches that, drops the array and goes on: three times.

local function fill(list)
    while true do list[#list + 1] = {number = #list} end
end

local function sum_of_squares(count)
    local squares, sum = {}, 0
    for i = 1, count do squares[i] = i * i end
    for _, square in ipairs(squares) do sum = sum + square end
    return sum
end

for round = 1, 3 do
    local list = {}
    local filled, message = pcall(fill, list)
    local full = #list > 1000
    list = nil
    assert(not filled and full, 'memory was to run out, but not at once')
    print(string.format('recover: round %d: caught "%s"', round, message))
    print(string.format('recover: round %d: went on, sum %d', round, sum_of_squares(10000)))
end
