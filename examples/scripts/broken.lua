-- Ends with an error of its own, which has nothing to do with memory.

local record = nil
print(record.name)
