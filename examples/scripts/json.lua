-- Builds a document of several megabytes, writes it as JSON, parses that, and writes it again.
-- json.js does the same, and both print the same sizes and checksums.
-- usage: json.lua [records]

local records = tonumber(arg and arg[1]) or 20000

-- ---- a JSON reader and writer ----------------------------------------------------------------

local escape_of = {
    ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r',
    ['\t'] = '\\t',
}
local char_of = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t',
}

local function escape(char)
    return escape_of[char] or string.format('\\u%04x', char:byte())
end

local function write_string(out, value)
    out[#out + 1] = '"' .. value:gsub('[%c"\\]', escape) .. '"'
end

local function sorted_keys(object)
    local keys = {}
    for key in pairs(object) do keys[#keys + 1] = key end
    table.sort(keys)
    return keys
end

local write

-- Joins what an element has written, so that `out` stays short.
local function join(out, first)
    out[first] = table.concat(out, '', first)
    for i = #out, first + 1, -1 do out[i] = nil end
end

local function write_array(out, array)
    out[#out + 1] = '['
    for i, value in ipairs(array) do
        local first = #out + 1
        if i > 1 then out[first] = ',' end
        write(out, value)
        join(out, first)
    end
    out[#out + 1] = ']'
end

local function write_object(out, object)
    out[#out + 1] = '{'
    for i, key in ipairs(sorted_keys(object)) do
        if i > 1 then out[#out + 1] = ',' end
        write_string(out, key)
        out[#out + 1] = ':'
        write(out, object[key])
    end
    out[#out + 1] = '}'
end

local function number_text(value)
    return math.type(value) == 'integer' and tostring(value) or string.format('%.14g', value)
end

-- A table with a first element is an array; none here is empty.
function write(out, value)
    local kind = type(value)
    if kind == 'string' then
        write_string(out, value)
    elseif kind == 'number' then
        out[#out + 1] = number_text(value)
    elseif kind == 'boolean' then
        out[#out + 1] = tostring(value)
    elseif value[1] ~= nil then
        write_array(out, value)
    else
        write_object(out, value)
    end
end

local function to_json(value)
    local out = {}
    write(out, value)
    return table.concat(out)
end

local read

local function fail(at, wanted)
    error(string.format('JSON: %s expected at byte %d', wanted, at), 0)
end

local function skip(text, at)
    return text:find('[^ \t\r\n]', at) or #text + 1
end

local function read_escape(text, at)
    local hex = text:match('^u(%x%x%x%x)', at)
    if hex then return utf8.char(tonumber(hex, 16)), at + 5 end
    local char = char_of[text:sub(at, at)] or fail(at, 'escape')
    return char, at + 1
end

-- `at` is behind the opening quote.
local function read_string(text, at)
    local parts = {}
    while true do
        local stop = text:find('["\\]', at) or fail(#text, 'end of string')
        if text:byte(stop) == 34 and #parts == 0 then return text:sub(at, stop - 1), stop + 1 end
        parts[#parts + 1] = text:sub(at, stop - 1)
        if text:byte(stop) == 34 then return table.concat(parts), stop + 1 end
        parts[#parts + 1], at = read_escape(text, stop + 1)
    end
end

-- Reads what stands between commas up to `close`, each by read_item(into, at).
local function read_list(text, at, close, read_item)
    local into = {}
    at = skip(text, at)
    if text:sub(at, at) == close then return into, at + 1 end
    while true do
        at = skip(text, read_item(text, at, into))
        local char = text:sub(at, at)
        if char == close then return into, at + 1 end
        if char ~= ',' then fail(at, "',' or '" .. close .. "'") end
        at = skip(text, at + 1)
    end
end

local function read_element(text, at, array)
    array[#array + 1], at = read(text, at)
    return at
end

local function read_member(text, at, object)
    if text:byte(at) ~= 34 then fail(at, 'key') end
    local key, behind = read_string(text, at + 1)
    at = skip(text, behind)
    if text:sub(at, at) ~= ':' then fail(at, "':'") end
    object[key], at = read(text, skip(text, at + 1))
    return at
end

local function read_number(text, at)
    local digits = text:match('^-?%d+%.?%d*[eE]?[+-]?%d*', at) or fail(at, 'value')
    return tonumber(digits) or fail(at, 'number'), at + #digits
end

function read(text, at)
    local char = text:sub(at, at)
    if char == '{' then return read_list(text, at + 1, '}', read_member) end
    if char == '[' then return read_list(text, at + 1, ']', read_element) end
    if char == '"' then return read_string(text, at + 1) end
    if text:find('^true', at) then return true, at + 4 end
    if text:find('^false', at) then return false, at + 5 end
    return read_number(text, at)
end

local function from_json(text)
    local value, at = read(text, skip(text, 1))
    if skip(text, at) <= #text then fail(at, 'end') end
    return value
end

-- ---- the document ----------------------------------------------------------------------------

local seed = 1
local function random(bound)
    seed = seed * 16807 % 2147483647
    return seed % bound
end

local colours = {'red', 'green', 'blue', 'deep "violet"', 'grey\\white', 'two\nlines', 'a\ttab'}

local function make_record(id)
    local scores = {}
    for i = 1, 3 + random(6) do scores[i] = random(4000) / 4 end
    return {
        active = random(2) == 1,
        colours = {colours[1 + random(7)], colours[1 + random(7)]},
        id = id,
        name = 'record number ' .. id,
        place = {x = random(100000) - 50000, y = random(100000) - 50000},
        scores = scores,
    }
end

local function checksum(text)
    local sum = 0
    for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 1000000007 end
    return sum
end

local function total_score(document)
    local total = 0
    for _, record in ipairs(document) do
        for _, score in ipairs(record.scores) do total = total + score end
    end
    return total
end

local document = {}
for id = 1, records do document[id] = make_record(id) end
local text = to_json(document)
print(string.format('json: %d records, %d bytes, checksum %d', #document, #text, checksum(text)))

document = nil
local parsed = from_json(text)
print(string.format('json: parsed %d records, total score %.2f', #parsed, total_score(parsed)))

local again = to_json(parsed)
assert(again == text, 'the rebuilt text differs')
print(string.format('json: rebuilt %d bytes, the same', #again))
