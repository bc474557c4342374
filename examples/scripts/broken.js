// Ends with an error of its own, which has nothing to do with memory.

var record = null;
print(record.name);
