// Builds strings: piece by piece, in one go, and by editing a long one.
// strings.lua does the same, and both print the same.
// usage: strings.js [lines]

var lines = Number(scriptArgs[1]) || 40000;

function checksum(text) {
    var sum = 0;
    for (var i = 0; i < text.length; i++) sum = (sum * 31 + text.charCodeAt(i)) % 1000000007;
    return sum;
}

function report(what, text) {
    print('strings: ' + what + ', ' + text.length + ' bytes, checksum ' + checksum(text));
}

function main() {
    // Each step makes a new string and drops the one before.
    var grown = '';
    for (var i = 1; i <= 4000; i++) grown += i + ';';
    report('grown', grown);

    var parts = [];
    for (var n = 1; n <= lines; n++) parts.push('line ' + n + ' of ' + lines);
    var joined = parts.join('\n');
    report('joined', joined);

    var count = 0;
    var edited = joined.replace(/line/g, function () {
        count++;
        return count % 2 === 0 ? 'even' : 'odd';
    });
    report('edited', edited);

    var doubled = 'ab';
    while (doubled.length < 1000000) doubled += doubled;
    report('doubled', doubled);
}

main();
