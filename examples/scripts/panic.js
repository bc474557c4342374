// Makes the engine give up while it holds memory: what it held is freed with its runtime.

var list = [];
for (var i = 0; i < 10000; i++) list.push({number: i});
panic('on purpose');
