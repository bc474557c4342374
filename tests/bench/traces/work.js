// Work for recording what Duktape allocates: JSON, strings, objects as dictionaries, closures.

function record(i) {
    return { id: i, name: 'item-' + i, tags: ['a' + i % 7, 'b' + i % 11], score: i / 3 };
}

var kept = [];
for (var round = 0; round < 60; round++) {
    var items = [];
    for (var i = 0; i < 100; i++) {
        items.push(record(round * 100 + i));
    }
    var copy = JSON.parse(JSON.stringify(items));
    copy.sort(function (a, b) { return a.name < b.name ? -1 : 1; });
    var words = {};
    copy.forEach(function (item) {
        item.tags.forEach(function (tag) { words[tag] = (words[tag] || 0) + 1; });
    });
    kept[round % 16] = {
        items: copy, words: words,
        text: copy.map(function (item) { return item.name + '=' + item.score; }).join(';'),
        again: (function (n) { return function () { return n; }; })(copy.length)
    };
}
