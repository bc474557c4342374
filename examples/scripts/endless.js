// Fills an array without end, and does not care: the host has to.

print('endless: filling an array');
var list = [];
while (true) list.push({number: list.length});
