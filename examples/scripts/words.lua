-- Counts words in a dictionary and sorts them by how often they occur.
-- words.js does the same, and both print the same.
-- usage: words.lua [words]

local words = tonumber(arg and arg[1]) or 300000

local seed = 7
local function random(bound)
    seed = seed * 16807 % 2147483647
    return seed % bound
end

local syllables = {'ba', 'ko', 'li', 'mu', 'ne', 'pa', 'ri', 'so', 'ta', 'vu', 'xi', 'zo'}

-- A small first draw makes some words far more frequent than others, as in a language.
local function make_word()
    local bound = 1 + random(12)
    local parts = {}
    for i = 1, 1 + random(4) do parts[i] = syllables[1 + random(bound)] end
    return table.concat(parts)
end

local count_of = {}
for _ = 1, words do
    local word = make_word()
    count_of[word] = (count_of[word] or 0) + 1
end

local list = {}
for word, count in pairs(count_of) do list[#list + 1] = {word = word, count = count} end
table.sort(list, function(a, b)
    if a.count ~= b.count then return a.count > b.count end
    return a.word < b.word
end)

local sum = 0
for rank, entry in ipairs(list) do
    for i = 1, #entry.word do sum = (sum * 31 + entry.word:byte(i)) % 1000000007 end
    sum = (sum + entry.count * rank) % 1000000007
end

print(string.format('words: %d words, %d of them different', words, #list))
for rank = 1, 3 do print(string.format('words: %d. %s, %d times', rank, list[rank].word,
                                       list[rank].count)) end
print(string.format('words: checksum %d', sum))
