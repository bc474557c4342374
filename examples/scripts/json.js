// Builds a document of several megabytes, writes it as JSON, parses that, and writes it again.
// json.lua does the same, and both print the same sizes and checksums.
// usage: json.js [records]

var records = Number(scriptArgs[1]) || 20000;

var seed = 1;
function random(bound) {
    seed = seed * 16807 % 2147483647;
    return seed % bound;
}

var colours = ['red', 'green', 'blue', 'deep "violet"', 'grey\\white', 'two\nlines', 'a\ttab'];

// Keys in alphabetical order, which is how json.lua writes them.
function makeRecord(id) {
    var scores = [];
    for (var i = 3 + random(6); i > 0; i--) scores.push(random(4000) / 4);
    return {
        active: random(2) === 1,
        colours: [colours[random(7)], colours[random(7)]],
        id: id,
        name: 'record number ' + id,
        place: {x: random(100000) - 50000, y: random(100000) - 50000},
        scores: scores
    };
}

function checksum(text) {
    var sum = 0;
    for (var i = 0; i < text.length; i++) sum = (sum * 31 + text.charCodeAt(i)) % 1000000007;
    return sum;
}

function totalScore(list) {
    var total = 0;
    for (var i = 0; i < list.length; i++)
        for (var j = 0; j < list[i].scores.length; j++) total += list[i].scores[j];
    return total;
}

function main() {
    var list = [];
    for (var id = 1; id <= records; id++) list.push(makeRecord(id));
    var text = JSON.stringify(list);
    print('json: ' + list.length + ' records, ' + text.length + ' bytes, checksum ' + checksum(text));

    list = null;
    var parsed = JSON.parse(text);
    print('json: parsed ' + parsed.length + ' records, total score ' + totalScore(parsed).toFixed(2));

    var again = JSON.stringify(parsed);
    if (again !== text) throw new Error('the rebuilt text differs');
    print('json: rebuilt ' + again.length + ' bytes, the same');
}

main();
