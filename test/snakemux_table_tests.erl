%% What the processes of an instance know of each other.
-module(snakemux_table_tests).
-include_lib("eunit/include/eunit.hrl").

-define(NAME, snakemux_table_tests).

table() -> snakemux_table:new(?NAME, #{program => "/x", max_message => 7}).

ref() -> {?NAME, self(), make_ref()}.

port_test() ->
    {error, #{code := unavailable, message := <<"no instance", _/binary>>}} = snakemux_table:port(no_such_instance),
    none = snakemux_table:live_port(no_such_instance),
    Table = table(),
    "/x" = snakemux_table:setting(Table, program),
    {ok, Table} = snakemux_table:find(?NAME),
    {error, #{reason := port_down}} = snakemux_table:port(?NAME),
    Port = hd(erlang:ports()),
    snakemux_table:publish(Table, Port),
    {ok, Table, Port} = snakemux_table:port(?NAME),
    %% While it stops, what runs may go on.
    snakemux_table:stop(Table),
    {error, #{reason := stopping}} = snakemux_table:port(?NAME),
    {ok, Table, Port} = snakemux_table:live_port(?NAME),
    snakemux_table:withdraw(Table, snakemux_proto:error(unavailable, port_down, "gone")),
    {error, #{message := <<"gone">>}} = snakemux_table:port(?NAME),
    none = snakemux_table:live_port(?NAME),
    ets:delete(Table),
    {error, #{reason := port_down}} = snakemux_table:port(?NAME).

%% However many take a call, one gets it.
exactly_once_test() ->
    Table = table(),
    Ref = ref(),
    snakemux_table:add_call(Table, Ref, infinity, <<"s">>),
    Test = self(),
    Pids = [spawn_link(fun() -> Test ! {self(), snakemux_table:take_call(Table, Ref)} end) || _ <- lists:seq(1, 50)],
    Got = [receive {Pid, Result} -> Result end || Pid <- Pids],
    ?assertEqual([{ok, <<"s">>}], [R || R <- Got, R =/= none]),
    ?assertNot(snakemux_table:has_calls(Table)).

calls_test() ->
    Table = table(),
    {_, Self, Unique} = Ref = ref(),
    Other = spawn(fun() -> ok end),
    snakemux_table:add_call(Table, Ref, 1, undefined),
    snakemux_table:add_call(Table, {?NAME, Other, make_ref()}, 1, undefined),
    ?assertEqual([{Self, Unique}], snakemux_table:calls(Table, Self)),
    ?assertEqual(2, length(snakemux_table:calls(Table, all))).

credit_test() ->
    Table = table(),
    Ref = ref(),
    snakemux_table:add_call(Table, Ref, 2, undefined),
    active = snakemux_table:count_chunk(Table, Ref),
    passive = snakemux_table:count_chunk(Table, Ref),
    true = snakemux_table:add_credit(Table, Ref, 1),
    passive = snakemux_table:count_chunk(Table, Ref),
    true = snakemux_table:add_credit(Table, Ref, infinity),
    true = snakemux_table:add_credit(Table, Ref, 1),
    [active = snakemux_table:count_chunk(Table, Ref) || _ <- lists:seq(1, 10)],
    {ok, undefined} = snakemux_table:take_call(Table, Ref),
    over = snakemux_table:count_chunk(Table, Ref),
    false = snakemux_table:add_credit(Table, Ref, 1),
    false = snakemux_table:add_credit(Table, Ref, infinity),
    %% Nor is the end of the instance an error.
    snakemux_table:add_call(Table, Ref, 1, undefined),
    ets:delete(Table),
    false = snakemux_table:add_credit(Table, Ref, 1).

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
    ?assertEqual(0, snakemux_table:expire_pins(Table, Now, 1000)),
    ?assertEqual(1, snakemux_table:expire_pins(Table, Now + 2000, 1000)),
    ?assertNot(snakemux_table:has_pin(Table, <<"s">>)).

watch_test() ->
    Table = table(),
    ?assert(snakemux_table:watch(Table, self())),
    ?assertNot(snakemux_table:watch(Table, self())),
    ?assertEqual([self()], snakemux_table:watched(Table)),
    snakemux_table:unwatch(Table, self()),
    ?assert(snakemux_table:watch(Table, self())).
