-- Tables, indexes, joins, text search by pattern, windows: everything in memory.
pragma cache_size = -20000;
create table people(id integer primary key, name text, town integer, score real);
create table towns(id integer primary key, name text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
insert into towns select i, 'town ' || printf('%05d', (i * 7919) % 100003) from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
insert into people select i, 'name ' || hex(i * 2654435761 % 4294967296), i * 31 % 500 + 1,
    (i * 48271 % 65537) / 7.0 from n;
create index by_town on people(town, score);
create index by_name on people(name);
select count(*), sum(score), min(name), max(name) from people;
select t.name, count(*), round(avg(p.score), 4) from people p join towns t on t.id = p.town
    group by t.name order by 3 desc, 1 limit 25;
select name, rank() over (partition by town order by score desc) r from people
    where name like '%AB%' order by town, r, name limit 40;
update people set name = name || ' ' || (select name from towns where id = town) where id % 3 = 0;
delete from people where id % 7 = 0;
select length(group_concat(name, ',')) from people;
vacuum;
pragma integrity_check;
.dump towns
