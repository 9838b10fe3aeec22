%% What the processes of an instance know of each other.
-module(snakemux_table_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NAME, snakemux_table_tests).

table() -> snakemux_table:new(?NAME, #{program => "/x", max_message => 7}).

ref(Table) ->
    {_, Caller} = snakemux_table:caller(Table),
    snakemux_table:ref(Table, Caller).

port_test() ->
    {error, #{code := unavailable, message := <<"no instance", _/binary>>}} = snakemux_table:find(no_such_instance),
    none = snakemux_table:live_port(snakemux_table:ref(none, 0)),
    Table = table(),
    Ref = ref(Table),
    "/x" = snakemux_table:setting(Table, program),
    {ok, Table} = snakemux_table:find(?NAME),
    {error, #{reason := port_down}} = snakemux_table:port(Ref),
    Port = hd(erlang:ports()),
    snakemux_table:publish(Table, Port),
    {ok, Port} = snakemux_table:port(Ref),
    direct = snakemux_table:taker(Ref),
    snakemux_table:hand_over(Table, self()),
    Pid = snakemux_table:taker(Ref),
    ?assertEqual(self(), Pid),
    {ok, Port} = snakemux_table:live_port(Ref),
    %% While it stops, what runs may go on.
    snakemux_table:stop(Table),
    {error, #{reason := stopping}} = snakemux_table:port(Ref),
    direct = snakemux_table:taker(Ref),
    {ok, Port} = snakemux_table:live_port(Ref),
    snakemux_table:withdraw(Table, snakemux_proto:error(unavailable, port_down, "gone")),
    {error, #{message := <<"gone">>}} = snakemux_table:port(Ref),
    none = snakemux_table:live_port(Ref),
    ?assertEqual(self(), snakemux_table:owner(Ref)),
    ets:delete(Table),
    none = snakemux_table:live_port(Ref),
    undefined = snakemux_table:owner(Ref),
    {error, #{reason := port_down}} = snakemux_table:find(?NAME).

%% However many take a call, one gets it.
exactly_once_test() ->
    Table = table(),
    Ref = ref(Table),
    snakemux_table:add_call(Ref, infinity, <<"s">>),
    Test = self(),
    Pids = [spawn_link(fun() -> Test ! {self(), snakemux_table:take_call(Ref)} end) || _ <- lists:seq(1, 50)],
    Got = [receive {Pid, Result} -> Result end || Pid <- Pids],
    ?assertEqual([{ok, Test, <<"s">>}], [R || R <- Got, R =/= none]),
    ?assertNot(snakemux_table:has_calls(Table)).

calls_test() ->
    Table = table(),
    {Table, Self, _} = Ref = ref(Table),
    snakemux_table:pin(Table, <<"s">>, <<"w">>, <<"i">>),
    ?assertNot(snakemux_table:has_calls(Table)),
    snakemux_table:add_call(Ref, 1, undefined),
    Other = snakemux_table:ref(Table, Self + 1),
    snakemux_table:add_call(Other, 1, undefined),
    ?assert(snakemux_table:has_calls(Table)),
    ?assertEqual([Ref], snakemux_table:calls(Table, Self)),
    ?assertEqual([Ref, Other], snakemux_table:calls(Table, all)).

credit_test() ->
    Table = table(),
    Ref = ref(Table),
    snakemux_table:add_call(Ref, 2, undefined),
    {active, Self} = snakemux_table:count_chunks(Ref, 1),
    ?assertEqual(self(), Self),
    {passive, Self} = snakemux_table:count_chunks(Ref, 1),
    true = snakemux_table:add_credit(Ref, 1),
    {passive, Self} = snakemux_table:count_chunks(Ref, 1),
    true = snakemux_table:add_credit(Ref, 5),
    {active, Self} = snakemux_table:count_chunks(Ref, 3),
    {passive, Self} = snakemux_table:count_chunks(Ref, 2),
    true = snakemux_table:add_credit(Ref, infinity),
    {active, Self} = snakemux_table:count_chunks(Ref, 7),
    true = snakemux_table:add_credit(Ref, 1),
    [{active, Self} = snakemux_table:count_chunks(Ref, 1) || _ <- lists:seq(1, 10)],
    {ok, Self, undefined} = snakemux_table:take_call(Ref),
    over = snakemux_table:count_chunks(Ref, 1),
    false = snakemux_table:add_credit(Ref, 1),
    false = snakemux_table:add_credit(Ref, infinity),
    %% Nor is the end of the instance an error.
    snakemux_table:add_call(Ref, 1, undefined),
    ets:delete(Table),
    false = snakemux_table:add_credit(Ref, 1).

workers_test() ->
    Table = table(),
    Test = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> true = snakemux_table:claim_worker(Table, <<"w">>), Test ! claimed, receive stop -> ok end end),
    receive claimed -> ok end,
    ?assertNot(snakemux_table:claim_worker(Table, <<"w">>)),
    Pid ! stop,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    ?assert(snakemux_table:claim_worker(Table, <<"w">>)),
    {ok, Test, #{state := starting}} = snakemux_table:worker(Table, <<"w">>),
    Connect = {connect, 1, <<"w">>, <<"unix:/x">>, #{}},
    snakemux_table:want(Table, <<"w">>, Connect),
    ?assertEqual([Connect], snakemux_table:wanted(Table, <<"w">>)),
    ?assertEqual([Connect], snakemux_table:wanted(Table, all)),
    snakemux_table:unwant(Table, <<"w">>),
    ?assertEqual([], snakemux_table:wanted(Table, all)).

pins_test() ->
    Table = table(),
    snakemux_table:pin(Table, <<"s">>, <<"w">>, <<"i">>),
    ?assertEqual([{<<"s">>, <<"w">>, <<"i">>}], snakemux_table:pins(Table)),
    Now = erlang:monotonic_time(millisecond),
    ok = snakemux_table:expire_pins(Table, Now, 1000),
    ?assertMatch([_], snakemux_table:pins(Table)),
    %% Not while a call of the session runs.
    {_, Caller} = snakemux_table:caller(Table),
    Ref = snakemux_table:ref(Table, Caller),
    snakemux_table:add_call(Ref, infinity, <<"s">>),
    ok = snakemux_table:expire_pins(Table, Now + 2000, 1000),
    ?assertMatch([_], snakemux_table:pins(Table)),
    {ok, _, <<"s">>} = snakemux_table:take_call(Ref),
    ok = snakemux_table:expire_pins(Table, Now + 2000, 1000),
    ?assertEqual([], snakemux_table:pins(Table)),
    ?assertNot(snakemux_table:use_pin(Table, <<"s">>)).

%% A process keeps its number while the table lives, also when it speaks to another instance in between.
caller_test() ->
    Table = table(),
    {new, Number} = snakemux_table:caller(Table),
    {known, Number} = snakemux_table:caller(Table),
    {new, Elsewhere} = snakemux_table:caller(snakemux_table:new(another_instance, #{program => "/x", max_message => undefined})),
    ?assertNotEqual(Number, Elsewhere),
    {known, Number} = snakemux_table:caller(Table),
    ?assertEqual([self()], snakemux_table:callers(Table)),
    ?assertEqual([Number], snakemux_table:remove_caller(Table, self())),
    ?assertEqual([], snakemux_table:remove_caller(Table, self())).
