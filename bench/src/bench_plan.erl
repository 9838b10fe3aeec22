%% Which contestants do which work: the sets. Knows nothing of how they do it.
%%
%% A block is one kind of work and the rows that do it in turns; ratios are to its first row. A table is a list of blocks.
-module(bench_plan).

-export([sets/0, tables/1, has_extra/1, row/1, row/2, module/1, names/0]).

-export_type([row/0, block/0, table/0]).

-type row() :: #{name := atom(), worker := bench_worker:kind() | none, transport := unix | tcp | pipe,
                 workers := pos_integer(), flags := string()}.
-type block() :: {bench_contestant:work(), [row()]}.
-type table() :: {Title :: string(), [block()]}.

-define(NO_SPIN, "+sbwt none +sbwtdcpu none +sbwtdio none").

-spec sets() -> [atom()].
sets() -> [core, all, quick, native, python, extra].

%% @doc Whether what is no rate belongs to the set.
-spec has_extra(atom()) -> boolean().
has_extra(Set) -> lists:member(Set, [core, all, extra]).

-spec names() -> [atom()].
names() -> [bare, tuned, api, terms, hand, owner, echo, pool_json, pool_msgpack, old_direct, floor].

-spec module(atom()) -> module().
module(bare) -> bench_bare;
module(tuned) -> bench_tuned;
module(api) -> bench_api;
module(terms) -> bench_terms;
module(hand) -> bench_hand;
module(owner) -> bench_owner;
module(echo) -> bench_echo;
module(pool_json) -> bench_pool_json;
module(pool_msgpack) -> bench_pool_msgpack;
module(old_direct) -> bench_pipe;
module(floor) -> bench_floor.

-spec row(atom()) -> row().
row(Name) -> row(Name, #{}).

%% @doc On one worker in C over a unix socket, unless something else is said.
-spec row(atom(), map()) -> row().
row(Name, Given) ->
    Own = case lists:member(Name, [echo, pool_json, pool_msgpack, old_direct, floor]) of
        true -> #{worker => none, transport => pipe};
        false -> #{worker => c, transport => unix}
    end,
    maps:merge(maps:merge(#{name => Name, workers => 1, flags => ""}, Own), Given).

-spec tables(atom()) -> [table()].
tables(extra) -> [];
tables(quick) -> [{"The multiplexer", [{{unary, 16, 16}, rows([bare, tuned, api, hand, echo])},
                                       {{stream, 1, 100}, rows([bare, tuned, api, hand, echo])}]}];
tables(native) -> [{"The multiplexer", native()}];
tables(python) -> [{"Python workers", python()}];
tables(core) -> [{"The multiplexer", core_native()}, {"Python workers", core_python()}];
tables(all) -> tables(native) ++ tables(python).

rows(Names) -> [row(Name) || Name <- Names].

%% As much as five minutes hold: what the goals speak of.
core_native() ->
    [{{unary, 1, 16}, rows([bare, api, echo])},
     {{unary, 16, 16}, rows([bare, api])},
     {{unary, 64, 16}, rows([bare, api])},
     {{stream, 1, 100}, rows([bare, api])},
     {{stream, 1, 65536}, rows([bare, api, echo])}].

core_python() ->
    [{{unary, 1, 16}, [row(pool_msgpack), on(terms, native)]},
     {{unary, 16, 16}, [row(pool_msgpack), four(row(pool_msgpack)), on(bare, aio), on(bare, native), on(terms, native)]},
     {{stream, 1, 100}, [on(bare, threaded), on(bare, native)]},
     {{unary, 1, 1048576}, [row(pool_msgpack), on(bare, native), on(terms, native)]}].

native() ->
    [{{unary, N, Size}, rows([bare, tuned, api, hand, owner, echo]) ++ more(Size)} || Size <- [16, 1024], N <- [1, 16, 64, 256]] ++
        [{{unary, N, 1048576}, rows([bare, tuned, api, hand, echo])} || N <- [1, 16]] ++
        [{{stream, Streams, Size}, rows([bare, tuned, api, hand, echo]) ++ more(Size)}
         || Size <- [100, 65536, 1048576], Streams <- [1, 64]] ++
        [{Work, [row(Name, #{transport => tcp}) || Name <- [bare, api]]}
         || Work <- [{unary, 1, 16}, {unary, 16, 16}, {unary, 64, 16}, {stream, 1, 100}, {stream, 1, 65536}]] ++
        [{{unary, N, 16}, [four(row(Name)) || Name <- [bare, api]]} || N <- [16, 64, 256]].

more(Size) when Size =< 100 -> [row(api, #{flags => ?NO_SPIN}), row(terms)];
more(_) -> [].

python() ->
    Pools = [row(pool_msgpack), row(pool_json)],
    Four = [four(Row) || Row <- Pools],
    Servers = [on(bare, threaded), on(bare, aio), on(bare, native), on(terms, aio), on(terms, native), row(bare)],
    Direct = [row(old_direct), row(floor)],
    [{{unary, 1, 16}, Pools ++ Direct ++ Servers},
     {{unary, 16, 16}, Pools ++ Four ++ Servers},
     {{unary, 64, 16}, Pools ++ Four ++ Servers},
     {{stream, 1, 100}, Servers},
     {{unary, 1, 1048576}, Pools ++ Direct ++ Servers},
     {{unary, 16, 1048576}, Pools ++ Four ++ Servers}].

on(Name, Worker) -> row(Name, #{worker => Worker}).

four(Row) -> Row#{workers := 4}.
