-- Work for recording what Lua allocates: text taken apart and put together, tables, closures.
-- BENCH_SCALE is the amount of work, so that a short trace can be made by the same script.

local scale = tonumber(os.getenv("BENCH_SCALE") or "20")

local function record(i)
    return string.format('{"id":%d,"name":"item-%d","tags":["a%d","b%d"],"score":%.3f}',
        i, i, i % 7, i % 11, i / 3)
end

local function parse(text)
    local item = {tags = {}}
    for key, value in text:gmatch('"(%w+)":([^,%[%]}]+)') do
        item[key] = value
    end
    for tag in text:match('%[(.-)%]'):gmatch('"(.-)"') do
        item.tags[#item.tags + 1] = tag
    end
    return item
end

local kept = {}
for round = 1, scale do
    local items = {}
    for i = 1, 100 do
        items[i] = parse(record(round * 100 + i))
    end
    table.sort(items, function(a, b) return a.name < b.name end)
    local words, parts = {}, {}
    for _, item in ipairs(items) do
        for _, tag in ipairs(item.tags) do
            words[tag] = (words[tag] or 0) + 1
        end
        parts[#parts + 1] = item.name .. "=" .. item.score
    end
    kept[round % 16] = {items = items, words = words, text = table.concat(parts, ";"),
        again = function() return #items end}
end
