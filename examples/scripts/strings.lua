-- Builds strings: piece by piece, in one go, and by editing a long one.
-- strings.js does the same, and both print the same.
-- usage: strings.lua [lines]

local lines = tonumber(arg and arg[1]) or 40000

local function checksum(text)
    local sum = 0
    for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 1000000007 end
    return sum
end

local function report(what, text)
    print(string.format('strings: %s, %d bytes, checksum %d', what, #text, checksum(text)))
end

-- Each step makes a new string and drops the one before.
local grown = ''
for i = 1, 4000 do grown = grown .. i .. ';' end
report('grown', grown)

local parts = {}
for i = 1, lines do parts[i] = 'line ' .. i .. ' of ' .. lines end
local joined = table.concat(parts, '\n')
report('joined', joined)

local count = 0
local edited = joined:gsub('line', function()
    count = count + 1
    return count % 2 == 0 and 'even' or 'odd'
end)
report('edited', edited)

local doubled = 'ab'
while #doubled < 1000000 do doubled = doubled .. doubled end
report('doubled', doubled)
