# Strings, hashes, patterns, sorting, a fork. Prints checksums.
use strict;
use warnings;

my $seed = 42;
sub rnd { $seed = ($seed * 1103515245 + 12345) % 2147483648; return $seed % $_[0]; }
sub sum { my $sum = 0; $sum = ($sum * 31 + unpack("%32C*", $_)) % 1000000007 for @_; return $sum; }

my (%count, @words);
for my $i (1 .. 60000) {
    my $word = join("", map { chr(97 + rnd(26)) } 1 .. 1 + rnd(9));
    push @words, $word;
    $count{$word}++;
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
printf "words %d %s %d\n", scalar(@sorted), join(",", @sorted[0 .. 9]), sum(@sorted);
my $text = join(" ", @words);
my $vowels = () = $text =~ /[aeiou]+/g;
(my $changed = $text) =~ s/(\w)(\w*)/\u$2$1/g;
printf "text %d %d %d\n", length($text), $vowels, sum(split / /, $changed);
my @rows = map { { id => $_, name => $words[$_], next => [@words[$_ .. $_ + 3]] } } 0 .. 20000;
my %by_name;
push @{ $by_name{ $_->{name} } }, $_->{id} for @rows;
printf "rows %d %d\n", scalar(keys %by_name), sum(map { "$_=@{$by_name{$_}}" } sort keys %by_name);
$| = 1;
my $child = fork();
if (!$child) { print "child ", sum(map { $_->{name} x 3 } @rows), "\n"; exit 0; }
waitpid($child, 0);
print "status $?\n";
my $long = "x" x 3000000;
substr($long, $_ * 1000, 1) = "y" x ($_ % 5) for 0 .. 2000;
print "long ", length($long), " ", sum($long), "\n";
