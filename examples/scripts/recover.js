// Fills an array until memory is refused, catches that, drops the array and goes on: three times.

function fill(list) {
    while (true) list.push({number: list.length});
}

// True if filling ended with an error that can be caught.
function fillAndDrop(round) {
    var list = [];
    try {
        fill(list);
    } catch (error) {
        var full = list.length > 1000;
        list = null;
        if (!full) throw new Error('memory was to run out, but not at once');
        print('recover: round ' + round + ': caught "' + error.message + '"');
    }
}

function sumOfSquares(count) {
    var squares = [], sum = 0;
    for (var i = 1; i <= count; i++) squares.push(i * i);
    for (var j = 0; j < squares.length; j++) sum += squares[j];
    return sum;
}

for (var round = 1; round <= 3; round++) {
    fillAndDrop(round);
    print('recover: round ' + round + ': went on, sum ' + sumOfSquares(10000));
}
