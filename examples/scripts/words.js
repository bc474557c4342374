// Counts words in a dictionary and sorts them by how often they occur.
// words.lua does the same, and both print the same.
// usage: words.js [words]

var words = Number(scriptArgs[1]) || 300000;

var seed = 7;
function random(bound) {
    seed = seed * 16807 % 2147483647;
    return seed % bound;
}

var syllables = ['ba', 'ko', 'li', 'mu', 'ne', 'pa', 'ri', 'so', 'ta', 'vu', 'xi', 'zo'];

// A small first draw makes some words far more frequent than others, as in a language.
function makeWord() {
    var bound = 1 + random(12);
    var parts = [];
    for (var i = 1 + random(4); i > 0; i--) parts.push(syllables[random(bound)]);
    return parts.join('');
}

function countWords() {
    var countOf = {};
    for (var i = 0; i < words; i++) {
        var word = makeWord();
        countOf[word] = (countOf[word] || 0) + 1;
    }
    return countOf;
}

function main() {
    var countOf = countWords();
    var list = [];
    for (var word in countOf) list.push({word: word, count: countOf[word]});
    list.sort(function (a, b) {
        return a.count !== b.count ? b.count - a.count : a.word < b.word ? -1 : 1;
    });

    var sum = 0;
    for (var rank = 1; rank <= list.length; rank++) {
        var entry = list[rank - 1];
        for (var i = 0; i < entry.word.length; i++)
            sum = (sum * 31 + entry.word.charCodeAt(i)) % 1000000007;
        sum = (sum + entry.count * rank) % 1000000007;
    }

    print('words: ' + words + ' words, ' + list.length + ' of them different');
    for (var top = 0; top < 3; top++)
        print('words: ' + (top + 1) + '. ' + list[top].word + ', ' + list[top].count + ' times');
    print('words: checksum ' + sum);
}

main();
