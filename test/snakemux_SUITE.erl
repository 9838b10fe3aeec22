%% The API end to end, against real Python workers.
-module(snakemux_SUITE).
-include_lib("stdlib/include/assert.hrl").
-compile(export_all).

-import(mux_tools, [python/0, python/1, start/1, start/2, stop/1, eventually/1, eventually/2, within/2, pid_of/2, silence/0]).

suite() -> [{timetrap, {minutes, 1}}].

all() ->
    [
        {group, shared},
        {group, aio},
        queue, weights, commands, wrong_options, instance_down, add_and_remove, restart, rolling_restart_under_load,
        rolling_restart_of_one_worker, waiting_calls_outlive_a_restart,
        start_concurrency, tutorial_spawned, tutorial_attached, targets, attached_far_away, no_grpcio, crash_loop, back_off, listens_late,
        never_ready, refused_target, ids_and_indexes, environment, session_lost, session_move, callers_that_die
    ].

groups() ->
    [{shared, [], [
        unary, async, optional_arguments, values, bare_values, raw, null, worker_error, deadline, next_timeout, cancel,
        abandon, stream, stream_fold, stream_fold_raises, stream_error, credit, credit_infinity, session, questions
    ]}, {aio, [], [{group, shared}, callers_that_die]}].

init_per_suite(Config) -> Config.
end_per_suite(_) -> ok.

%% The other server of the Python library; all workers inherit our environment.
init_per_group(aio, Config) ->
    true = os:putenv("SNAKEMUX_SERVER", "aio"),
    Config;
init_per_group(shared, Config) ->
    %% Linked to nobody: init_per_group runs in a process of its own.
    [{mux, start([python(#{count => 2})])} | Config].

end_per_group(aio, _) -> os:unsetenv("SNAKEMUX_SERVER");
end_per_group(shared, Config) -> stop(mux(Config)).

end_per_testcase(_, Config) ->
    [stop(Name) || Name <- registered(), lists:prefix("mux_", atom_to_list(Name)), Name =/= mux(Config)],
    ok.

mux(Config) -> proplists:get_value(mux, Config).

%% ---- Calls ----

unary(Config) ->
    ?assertEqual({ok, #{<<"x">> => [1, 2]}}, snakemux:execute(mux(Config), <<"give_back">>, #{x => [1, 2]}, #{})),
    ?assertEqual({ok, #{<<"x">> => <<"y">>}}, snakemux:execute(mux(Config), <<"give_back">>, #{<<"x">> => y}, [{timeout, 5000}])),
    silence().

async(Config) ->
    Refs = [{N, snakemux:execute_async(mux(Config), <<"give_back">>, #{n => N}, #{})} || N <- lists:seq(1, 100)],
    [?assertEqual({ok, #{<<"n">> => N}}, snakemux:next(Ref, 5000)) || {N, Ref} <- Refs],
    Ref = snakemux:execute_async(mux(Config), <<"whoami">>),
    receive {snakemux, Ref, {ok, #{<<"pid">> := _}}} -> ok after 5000 -> ct:fail("no answer") end,
    silence().

optional_arguments(Config) ->
    Mux = mux(Config),
    {ok, #{<<"pid">> := _}} = snakemux:execute(Mux, <<"whoami">>),
    {ok, #{}} = snakemux:execute(Mux, <<"give_back">>, #{}),
    {ok, _} = snakemux:execute_in_session(Mux, <<"optional">>, <<"whoami">>),
    {ok, #{<<"total">> := 1}} = snakemux:execute_in_session(Mux, <<"optional">>, <<"add_up">>, #{by => 1}),
    {ok, #{<<"total">> := 2}} = snakemux:execute_in_session(Mux, <<"optional">>, <<"add_up">>, #{by => 1}, [{timeout, 1000}]),
    Ref = snakemux:execute_stream(Mux, <<"ping_stream">>),
    {chunk, _} = snakemux:next(Ref),
    ok = snakemux:abandon(Ref).

values(Config) ->
    Values = [
        0, -1, 255, 256, 1 bsl 60, -9223372036854775808, 18446744073709551615, 0.1, -1.0e300, <<>>, <<"größer"/utf8>>,
        <<"a", 0, "b">>, true, false, null, [], [1, 2, 3], [1, 2, 300], [[[]]], #{}, #{<<"a">> => #{<<"b">> => [null]}}
    ],
    [?assertEqual({ok, #{<<"v">> => V}}, snakemux:execute(mux(Config), <<"give_back">>, #{v => V})) || V <- Values],
    ?assertEqual({ok, #{<<"v">> => <<255, 0>>}}, snakemux:execute(mux(Config), <<"give_back">>, #{v => {bin, <<255, 0>>}})),
    [begin
        {error, Error} = snakemux:execute(mux(Config), <<"give_back">>, #{items => [1, V]}),
        ?assertMatch(#{code := invalid_argument, reason := encode, sent := false, origin := mux}, Error),
        ?assertNotEqual(nomatch, string:find(maps:get(message, Error), "items[1]"))
     end || V <- [1 bsl 64, -(1 bsl 63) - 1, <<255>>, {a, tuple}, self(), make_ref()]].

bare_values(Config) ->
    Value = fun(What) -> {ok, V} = snakemux:execute(mux(Config), <<"value">>, #{what => What}), V end,
    ?assertEqual(42, Value(number)),
    ?assertEqual([1, 2], Value(list)),
    ?assertEqual(null, Value(null)),
    ?assertEqual(<<255, 0>>, Value(bytes)),
    ?assertEqual(#{<<"a">> => #{<<"b">> => [null]}}, Value(deep)).

raw(Config) ->
    Args = #{<<"x">> => <<"[1,null]">>},
    ?assertEqual({ok, Args}, snakemux:execute(mux(Config), <<"give_back">>, Args, #{codec => raw})),
    {error, #{code := invalid_argument}} = snakemux:execute(mux(Config), <<"give_back">>, #{x => 1}, #{codec => raw}).

null(Config) ->
    ?assertEqual({ok, nil}, snakemux:execute(mux(Config), <<"value">>, #{what => null}, #{null => nil})),
    ?assertEqual({ok, #{<<"x">> => [null, null, null]}},
                 snakemux:execute(mux(Config), <<"give_back">>, #{x => [nil, null, undefined]})).

worker_error(Config) ->
    {error, Error} = snakemux:execute(mux(Config), <<"fail">>, #{text => <<"no such shape">>}),
    #{code := unknown, origin := worker, reason := application, sent := true, message := <<"no such shape">>,
      command := <<"fail">>, worker := <<"py-", _>>, request_id := _, details := #{<<"type">> := <<"ValueError">>}} = Error.

deadline(Config) ->
    within(1000, fun() ->
        {error, #{code := deadline_exceeded, reason := deadline}} =
            snakemux:execute(mux(Config), <<"block">>, #{name => deadline}, #{timeout => 200})
    end),
    ended(mux(Config), deadline),
    silence().

next_timeout(Config) ->
    Ref = snakemux:execute_async(mux(Config), <<"nap">>, #{ms => 300}),
    ?assertEqual(timeout, snakemux:next(Ref, 0)),
    ?assertEqual(timeout, snakemux:next(Ref, 20)),
    ?assertMatch({ok, #{<<"pid">> := _}}, snakemux:next(Ref, 5000)),
    silence().

cancel(Config) ->
    Ref = snakemux:execute_async(mux(Config), <<"block">>, #{name => cancel}),
    seen(mux(Config), <<"begun">>, cancel),
    ok = snakemux:cancel(Ref),
    ok = snakemux:cancel(Ref),
    {error, #{code := cancelled, reason := cancelled}} = snakemux:next(Ref, 1000),
    ok = snakemux:cancel(Ref),
    ended(mux(Config), cancel),
    silence().

%% However far the stream is when it is abandoned: no message of it comes afterwards.
abandon(Config) ->
    [begin
        Ref = snakemux:execute_stream(mux(Config), <<"numbers">>, #{name => abandon, count => N}, #{credit => infinity}),
        [snakemux:next(Ref, 5000) || _ <- lists:seq(1, N div 2)],
        ok = snakemux:abandon(Ref),
        ?assertEqual({messages, []}, process_info(self(), messages))
     end || N <- lists:seq(1, 40)],
    silence(),
    eventually(fun() -> {ok, #{calls := Calls}} = snakemux:stats(mux(Config)), Calls =:= 0 end).

%% ---- Streams ----

stream(Config) ->
    Ref = snakemux:execute_stream(mux(Config), <<"numbers">>, #{name => stream, count => 5}, #{}),
    [?assertEqual({chunk, #{<<"n">> => N}}, snakemux:next(Ref, 5000)) || N <- lists:seq(0, 4)],
    {done, #{chunks := 5, worker := <<"py-", _>>, incarnation := _, request_id := _, duration_us := _}} = snakemux:next(Ref, 5000),
    silence().

stream_fold(Config) ->
    Sum = fun(#{<<"n">> := N}, Acc) -> {cont, Acc + N} end,
    ?assertEqual({ok, 499500}, snakemux:stream_fold(mux(Config), <<"numbers">>, #{name => fold, count => 1000}, Sum, 0)),
    Third = fun(#{<<"n">> := 2}, Acc) -> {halt, Acc}; (#{<<"n">> := N}, Acc) -> {cont, [N | Acc]} end,
    ?assertEqual({ok, [1, 0]}, snakemux:stream_fold(mux(Config), <<"numbers">>, #{name => halted}, Third, [], [{credit, 2}])),
    ended(mux(Config), halted),
    silence().

stream_fold_raises(Config) ->
    Raise = fun(_, _) -> throw(enough) end,
    ?assertThrow(enough, snakemux:stream_fold(mux(Config), <<"numbers">>, #{name => raised}, Raise, 0)),
    ended(mux(Config), raised),
    silence().

stream_error(Config) ->
    Collect = fun(#{<<"n">> := N}, Acc) -> {cont, [N | Acc]} end,
    {error, #{code := unknown, delivered := 3, message := <<"no more after 3">>}, [2, 1, 0]} =
        snakemux:stream_fold(mux(Config), <<"numbers">>, #{name => failing, fail_at => 3}, Collect, []),
    silence().

credit(Config) ->
    Ref = snakemux:execute_stream(mux(Config), <<"numbers">>, #{name => credit, count => 6}, #{credit => 2}),
    [{chunk, _}, {chunk, _}, passive] = take(Ref, 3),
    silence(),
    ok = snakemux:credit(Ref, 1),
    [{chunk, #{<<"n">> := 2}}, passive] = take(Ref, 2),
    silence(),
    ok = snakemux:credit(Ref, 1),
    ok = snakemux:credit(Ref, 2),
    %% The one chunk may have come before there was credit for two more. The end costs no credit.
    case take(Ref, 5) of
        [{chunk, #{<<"n">> := 3}}, {chunk, _}, {chunk, _}, passive, {done, #{chunks := 6}}] -> ok;
        [{chunk, #{<<"n">> := 3}}, passive, {chunk, _}, {chunk, _}, passive] -> {done, #{chunks := 6}} = snakemux:next(Ref, 5000)
    end,
    ok = snakemux:credit(Ref, 5),
    silence(),
    ?assertError(badarg, snakemux:credit(Ref, 0)),
    ?assertError(badarg, snakemux:credit(Ref, 1 bsl 31)).

credit_infinity(Config) ->
    Ref = snakemux:execute_stream(mux(Config), <<"numbers">>, #{name => infinity, count => 100}, #{credit => 1}),
    [{chunk, _}, passive] = take(Ref, 2),
    ok = snakemux:credit(Ref, infinity),
    ok = snakemux:credit(Ref, 1),
    Rest = take(Ref, 100),
    ?assertEqual([], [E || passive = E <- Rest]),
    {done, #{chunks := 100}} = lists:last(Rest).

take(Ref, Count) -> [snakemux:next(Ref, 5000) || _ <- lists:seq(1, Count)].

%% ---- Sessions ----

session(Config) ->
    Mux = mux(Config),
    Add = fun(By) -> {ok, Map} = snakemux:execute_in_session(Mux, <<"s1">>, <<"add_up">>, #{by => By}), Map end,
    #{<<"total">> := 1, <<"pid">> := Pid} = Add(1),
    [#{<<"pid">> := Pid} = Add(1) || _ <- lists:seq(1, 10)],
    %% Another worker is refused, and its own takes it.
    {ok, #{<<"total">> := 12}} = snakemux:execute(Mux, <<"add_up">>, #{by => 1}, #{session => <<"s1">>}),
    Id = hd([W || W <- [<<"py-0">>, <<"py-1">>], pid_of(Mux, W) =:= Pid]),
    [Other] = [<<"py-0">>, <<"py-1">>] -- [Id],
    {error, #{reason := session_pinned, sent := false}} =
        snakemux:execute(Mux, <<"add_up">>, #{by => 1}, #{session => <<"s1">>, worker => Other}),
    Kept = fun() -> element(2, snakemux:execute(Mux, <<"sessions">>, #{}, #{worker => Id})) end,
    Before = Kept(),
    ok = snakemux:end_session(Mux, <<"s1">>),
    eventually(fun() -> Kept() < Before end),
    {ok, #{<<"total">> := 1}} = snakemux:execute(Mux, <<"add_up">>, #{by => 1}, #{session => <<"s1">>, worker => Other}),
    ok = snakemux:end_session(Mux, <<"s1">>),
    ok = snakemux:end_session(Mux, <<"never heard of">>).

session_lost(_) ->
    Mux = start([python(#{count => 2})]),
    Add = fun() -> snakemux:execute_in_session(Mux, <<"s">>, <<"add_up">>, #{by => 1}) end,
    {ok, #{<<"total">> := 1, <<"pid">> := Pid}} = Add(),
    mux_tools:signal("KILL", Pid),
    eventually(fun() -> not mux_tools:is_alive(Pid) end),
    mux_tools:wait_ready(Mux, 10000),
    {error, #{code := failed_precondition, reason := session_lost, sent := false}} = eventually(fun() ->
        case Add() of {error, #{reason := worker_down}} -> false; Answer -> Answer end
    end),
    {ok, #{<<"total">> := 1}} = Add(),
    {ok, #{<<"total">> := 2}} = Add().

session_move(_) ->
    Mux = start([python(#{id => "one"})]),
    Add = fun() -> snakemux:execute(Mux, <<"add_up">>, #{by => 1}, #{session => <<"s">>, on_session_lost => move}) end,
    {ok, #{<<"total">> := 1}} = Add(),
    {ok, #{<<"total">> := 2}} = Add(),
    ok = snakemux:restart_worker(Mux, <<"one">>),
    {ok, #{<<"total">> := 1}} = Add().

%% ---- Routing ----

queue(_) ->
    Mux = start([python(#{max_concurrent => 1, threads => 4})], #{max_queue => 2}),
    Refs = [snakemux:execute_async(Mux, <<"nap">>, #{ms => 500}) || _ <- lists:seq(1, 3)],
    {error, #{code := resource_exhausted, reason := queue_full, sent := false}} = snakemux:execute(Mux, <<"nap">>, #{ms => 1}),
    Start = erlang:monotonic_time(millisecond),
    [{ok, _} = snakemux:next(Ref, 5000) || Ref <- Refs],
    %% One after the other.
    ?assert(erlang:monotonic_time(millisecond) - Start >= 1000),
    %% The queue counts towards the timeout.
    Busy = snakemux:execute_async(Mux, <<"nap">>, #{ms => 500}),
    {error, #{code := deadline_exceeded, sent := false}} = snakemux:execute(Mux, <<"nap">>, #{ms => 1}, #{timeout => 100}),
    {ok, _} = snakemux:next(Busy, 5000).

weights(_) ->
    Mux = start([python(#{id => "three", weight => 3}), python(#{id => "one"})]),
    {Three, One} = {pid_of(Mux, <<"three">>), pid_of(Mux, <<"one">>)},
    Refs = [snakemux:execute_async(Mux, <<"nap">>, #{ms => 1000}) || _ <- lists:seq(1, 8)],
    Pids = [Pid || Ref <- Refs, {ok, #{<<"pid">> := Pid}} <- [snakemux:next(Ref, 5000)]],
    ?assertEqual({6, 2}, {length([P || P <- Pids, P =:= Three]), length([P || P <- Pids, P =:= One])}).

commands(_) ->
    Mux = start([python(#{id => "a", commands => [<<"whoami">>]}), python(#{id => "b", commands => ["nap", <<"fail">>]})]),
    A = pid_of(Mux, <<"a">>),
    [{ok, #{<<"pid">> := A}} = snakemux:execute(Mux, <<"whoami">>) || _ <- lists:seq(1, 4)],
    {error, #{code := unimplemented, origin := mux, sent := false, details := #{commands := Commands}}} =
        snakemux:execute(Mux, <<"give_back">>),
    ?assertEqual([<<"fail">>, <<"nap">>, <<"whoami">>], lists:sort(Commands)),
    {error, #{code := unimplemented}} = snakemux:execute(Mux, <<"whoami">>, #{}, #{worker => <<"b">>}),
    {error, #{code := not_found, reason := no_worker}} = snakemux:execute(Mux, <<"whoami">>, #{}, #{worker => <<"c">>}),
    {error, #{code := invalid_argument}} = snakemux:execute(Mux, <<"a", 0, "b">>).

%% ---- Options ----

wrong_options(_) ->
    Text = fun(Fun) ->
        try Fun() of
            Value -> ct:fail("no badarg but ~p", [Value])
        catch
            error:badarg:Stack ->
                [{_, _, _, Info} | _] = Stack,
                #{module := Module} = proplists:get_value(error_info, Info),
                #{general := General} = Module:format_error(badarg, Stack),
                binary_to_list(General)
        end
    end,
    Names = fun(Words, Fun) ->
        Said = Text(Fun),
        [string:find(Said, Word) =/= nomatch orelse ct:fail("no ~s in: ~s", [Word, Said]) || Word <- Words]
    end,
    Worker = fun(Spec) -> fun() -> snakemux:start_link(#{name => never, workers => [Spec]}) end end,
    Names(["name", "missing"], fun() -> snakemux:start_link(#{}) end),
    Names(["name", "\"text\""], fun() -> snakemux:start_link(#{name => "text"}) end),
    Names(["max_queue", "0"], fun() -> snakemux:start_link([{name, never}, {max_queue, 0}]) end),
    Names(["wrokers", "workers"], fun() -> snakemux:start_link(#{name => never, wrokers => []}) end),
    Names(["options", "42"], fun() -> snakemux:child_spec(42) end),
    Names(["module"], Worker({python, #{}})),
    Names(["threads", "many"], Worker({python, #{module => "w", threads => many}})),
    Names(["env", "texts"], Worker({python, #{module => "w", env => #{"A" => 1}}})),
    Names(["path", "no_such_app"], Worker({python, #{module => "w", path => {priv, no_such_app, "x"}}})),
    Names(["exec", "{port}"], Worker({exec, ["/bin/true"]})),
    Names(["attach", "http://x"], Worker({attach, "http://x"})),
    Names(["weight", "1..1000000"], Worker({attach, "unix:/x", [{weight, 1.5}]})),
    Names(["{python, Opts}"], Worker(python)),
    Names(["id", "same"], fun() ->
        snakemux:start_link(#{name => never, workers => [python(#{id => "same"}), {attach, "unix:/x", #{id => "same"}}]})
    end),
    Names(["timeout", "-1", "infinity"], fun() -> snakemux:execute(never, <<"x">>, #{}, #{timeout => -1}) end),
    Names(["codec", "yaml", "msgpack"], fun() -> snakemux:execute_stream(never, <<"x">>, #{}, [{codec, yaml}]) end),
    Names(["sesion", "session"], fun() -> snakemux:execute(never, <<"x">>, #{}, #{sesion => <<"s">>}) end),
    Names(["workers", "some"], fun() -> snakemux:await_ready(never, #{workers => some}) end),
    Names(["rollling", "rolling"], fun() -> snakemux:restart_workers(never, #{rollling => true}) end),
    Ref = snakemux:execute_async(never, <<"x">>),
    [Names(["timeout", Said, "infinity"], fun() -> snakemux:next(Ref, Timeout) end)
     || {Timeout, Said} <- [{-1, "-1"}, {1.5, "1.5"}, {soon, "soon"}, {1 bsl 32, "4294967296"}]],
    {error, _} = snakemux:next(Ref, (1 bsl 32) - 1),
    Names(["remove_worker", "drain"], fun() -> snakemux:remove_worker(never, <<"x">>, later) end),
    ?assertEqual(undefined, whereis(never)).

instance_down(_) ->
    Down = fun({error, #{code := unavailable, reason := port_down, sent := false, origin := mux, message := Message}}) ->
        ?assertNotEqual(nomatch, string:find(Message, "no instance nobody"))
    end,
    Down(snakemux:execute(nobody, <<"x">>)),
    Down(snakemux:next(snakemux:execute_async(nobody, <<"x">>), 0)),
    Down(snakemux:next(snakemux:execute_stream(nobody, <<"x">>), 0)),
    {error, Error, acc} = snakemux:stream_fold(nobody, <<"x">>, #{}, fun(_, A) -> {cont, A} end, acc),
    Down({error, Error}),
    [Down(snakemux:F(nobody)) || F <- [workers, calls, stats, await_ready, restart_workers]],
    [Down(snakemux:F(nobody, <<"x">>)) || F <- [health, info, remove_worker, restart_worker, end_session]],
    Down(snakemux:add_worker(nobody, python())),
    silence(),
    %% Once up and stopped again, it is the same.
    Mux = start([]),
    Ref = snakemux:execute_async(Mux, <<"x">>),
    {error, #{code := unavailable, reason := no_worker}} = snakemux:next(Ref, 1000),
    stop(Mux),
    {error, #{code := unavailable, sent := false}} = snakemux:execute(Mux, <<"x">>),
    ok = snakemux:cancel(Ref),
    ok = snakemux:credit(Ref, 1),
    ok = snakemux:abandon(Ref).

questions(Config) ->
    Mux = mux(Config),
    {ok, [#{id := <<"py-0">>, state := ready, kind := python, guardian_pid := Guardian, capabilities := Announced} | _]} =
        snakemux:workers(Mux),
    ?assertEqual(list_to_binary(os:getenv("SNAKEMUX_SERVER", "native")), maps:get(<<"server">>, Announced)),
    ?assert(mux_tools:is_alive(Guardian)),
    {ok, #{healthy := true}} = snakemux:health(Mux, <<"py-0">>),
    {ok, #{supported_commands := Commands}} = snakemux:info(Mux, <<"py-1">>),
    ?assert(lists:member(<<"whoami">>, Commands)),
    [{error, #{code := not_found}} = snakemux:F(Mux, <<"py-9">>) || F <- [health, info, remove_worker, restart_worker]],
    Ref = snakemux:execute_async(Mux, <<"block">>, #{name => questions}, #{request_id => <<"mine">>}),
    [#{request_id := <<"mine">>, worker := _, age_ms := _}] = running(Mux, <<"block">>),
    ok = snakemux:abandon(Ref),
    {ok, #{workers := #{<<"py-0">> := _}, os_pid := _}} = snakemux:stats(Mux).

running(Mux, Command) ->
    eventually(fun() ->
        {ok, Calls} = snakemux:calls(Mux),
        case [C || #{command := Name} = C <- Calls, Name =:= Command] of [] -> false; Found -> Found end
    end).

%% The handler of the call with that name has ended, on one of two workers.
ended(Mux, Name) -> seen(Mux, <<"ended">>, Name).

seen(Mux, What, Name) ->
    eventually(fun() ->
        lists:any(fun(Id) -> {ok, 0} =/= snakemux:execute(Mux, What, #{name => Name}, #{worker => Id}) end,
                  [<<"py-0">>, <<"py-1">>])
    end).

%% ---- Workers come and go ----

add_and_remove(_) ->
    Mux = start([]),
    {error, #{code := unavailable, reason := no_worker}} = snakemux:execute(Mux, <<"whoami">>),
    {ok, <<"a">>} = snakemux:add_worker(Mux, python(#{id => "a"})),
    {ok, #{<<"pid">> := Pid}} = snakemux:execute(Mux, <<"whoami">>),
    {error, #{code := already_exists}} = snakemux:add_worker(Mux, python(#{id => "a"})),
    {ok, [<<"b-0">>, <<"b-1">>]} = snakemux:add_worker(Mux, python(#{id => "b", count => 2})),
    %% All or none.
    {error, #{code := already_exists}} = snakemux:add_worker(Mux, python(#{id => "b", count => 3})),
    {ok, Workers} = snakemux:workers(Mux),
    ?assertEqual([<<"a">>, <<"b-0">>, <<"b-1">>], [Id || #{id := Id} <- Workers]),
    Ref = snakemux:execute_async(Mux, <<"nap">>, #{ms => 1000}, #{worker => <<"a">>}),
    running(Mux, <<"nap">>),
    ok = snakemux:remove_worker(Mux, <<"a">>, {drain, 5000}),
    {ok, _} = snakemux:next(Ref, 0),
    ?assertNot(mux_tools:is_alive(Pid)),
    ok = snakemux:await_ready(Mux),
    Cut = snakemux:execute_async(Mux, <<"block">>, #{name => cut}, #{worker => <<"b-0">>}),
    running(Mux, <<"block">>),
    ok = snakemux:remove_worker(Mux, <<"b-0">>),
    {error, #{code := unavailable, reason := worker_down, sent := true}} = snakemux:next(Cut, 1000),
    {error, #{code := not_found}} = snakemux:remove_worker(Mux, <<"b-0">>),
    %% Draining one that is not even there yet waits for nothing.
    {ok, _} = snakemux:add_worker(Mux, {attach, "unix:/tmp/snakemux_nobody_listens", #{id => "nobody"}}),
    within(1000, fun() -> ok = snakemux:remove_worker(Mux, <<"nobody">>, {drain, 30000}) end),
    {ok, [#{id := <<"b-1">>}]} = snakemux:workers(Mux).

restart(_) ->
    Mux = start([python(#{id => "one"})]),
    Pid = pid_of(Mux, <<"one">>),
    ok = snakemux:restart_worker(Mux, <<"one">>),
    %% Calls wait for the new one.
    {ok, #{<<"pid">> := New}} = snakemux:execute(Mux, <<"whoami">>),
    ?assertNotEqual(Pid, New),
    ?assertNot(mux_tools:is_alive(Pid)),
    ok = snakemux:restart_workers(Mux),
    {ok, #{<<"pid">> := Newer}} = snakemux:execute(Mux, <<"whoami">>),
    ?assertNotEqual(New, Newer),
    {ok, [#{restarts := 2}]} = snakemux:workers(Mux).

rolling_restart_under_load(_) -> rolls_under_load(python(#{count => 2}), [<<"py-0">>, <<"py-1">>]).

%% Calls wait while the only worker is replaced.
rolling_restart_of_one_worker(_) -> rolls_under_load(python(), [<<"py">>]).

rolls_under_load(Worker, Ids) ->
    Mux = start([Worker]),
    Before = [pid_of(Mux, Id) || Id <- Ids],
    Test = self(),
    Loads = [fun nap/1, fun nap/1, fun nap/1, fun twenty_numbers/1, fun twenty_numbers/1],
    Callers = [spawn_link(fun() -> load(Load, Mux, Test, 0) end) || Load <- Loads],
    ok = snakemux:restart_workers(Mux, #{rolling => true}),
    receive after 300 -> ok end,
    [Caller ! stop || Caller <- Callers],
    Counts = [receive {done, Caller, Count} -> Count after 10000 -> ct:fail("no end") end || Caller <- Callers],
    ?assert(lists:sum(Counts) > 20),
    ?assert(lists:min(Counts) > 0),
    [?assertNot(mux_tools:is_alive(Pid)) || Pid <- Before],
    [?assertNot(lists:member(pid_of(Mux, Id), Before)) || Id <- Ids].

%% They were never sent, so that they can go to the next life; the one that runs is lost.
waiting_calls_outlive_a_restart(_) ->
    Mux = start([python(#{id => "one", max_concurrent => 1})]),
    Pid = pid_of(Mux, <<"one">>),
    Running = snakemux:execute_async(Mux, <<"block">>, #{name => restart}),
    Waiting = [snakemux:execute_async(Mux, <<"whoami">>, #{}, Options) || Options <- [#{}, #{worker => <<"one">>}, #{session => <<"s">>}]],
    eventually(fun() -> {ok, #{queued := Queued}} = snakemux:stats(Mux), Queued =:= 3 end),
    ok = snakemux:restart_worker(Mux, <<"one">>),
    {error, #{code := unavailable, sent := true}} = snakemux:next(Running, 1000),
    [begin
        {ok, #{<<"pid">> := New}} = snakemux:next(Ref, 10000),
        ?assertNotEqual(Pid, New)
     end || Ref <- Waiting].

load(Load, Mux, Test, Count) ->
    receive
        stop -> Test ! {done, self(), Count}
    after 0 ->
        Load(Mux),
        load(Load, Mux, Test, Count + 1)
    end.

nap(Mux) -> {ok, _} = snakemux:execute(Mux, <<"nap">>, #{ms => 10}).

twenty_numbers(Mux) ->
    Count = fun(_, N) -> {cont, N + 1} end,
    {ok, 20} = snakemux:stream_fold(Mux, <<"numbers">>, #{name => load, count => 20, pause => 0.01}, Count, 0).

%% The second starts when the first is ready.
start_concurrency(_) ->
    Mux = start([python(#{count => 3, start_concurrency => 1, env => #{"LOAD" => "0.2"}})]),
    Lives = [element(2, snakemux:execute(Mux, <<"whoami">>, #{}, #{worker => Id})) || Id <- [<<"py-0">>, <<"py-1">>, <<"py-2">>]],
    [#{<<"ready">> := Ready0}, #{<<"born">> := Born1, <<"ready">> := Ready1}, #{<<"born">> := Born2}] = Lives,
    ?assert(Born1 >= Ready0),
    ?assert(Born2 >= Ready1).

%% ---- Workers of all kinds ----

tutorial() ->
    {python, #{python := Python}} = python(),
    [Python, filename:join([snakemux_test_tools:root(), "test", "support", "tutorial_worker.py"]), "--port"].

tutorial_spawned(_) ->
    Mux = start([{exec, tutorial() ++ ["{port}"], #{id => "old", count => 2, cd => filename:join(snakemux_test_tools:root(), "proto")}}]),
    tutorial_works(Mux),
    {ok, [#{id := <<"old-0">>, kind := exec}, #{id := <<"old-1">>}]} = snakemux:workers(Mux).

tutorial_attached(_) ->
    Spawned = start([{exec, tutorial() ++ ["{port}"]}]),
    {ok, [#{id := <<"exec">>, target := Target}]} = snakemux:workers(Spawned),
    Mux = start([{attach, Target}]),
    {ok, [#{id := <<"attach">>, kind := attach, state := ready}]} = snakemux:workers(Mux),
    tutorial_works(Mux),
    ok = snakemux:restart_worker(Mux, <<"attach">>),
    tutorial_works(Mux),
    ok = snakemux:restart_worker(Spawned, <<"exec">>).

tutorial_works(Mux) ->
    {ok, #{<<"status">> := <<"ok">>, <<"result">> := 5}} =
        snakemux:execute(Mux, <<"compute">>, #{operation => add, a => 2, b => 3}),
    {ok, #{<<"echoed">> := #{<<"x">> := [1, null]}}} = snakemux:execute(Mux, <<"echo">>, #{x => [1, null]}),
    {error, #{code := unknown, origin := worker, message := <<"unknown command: nothing">>}} = snakemux:execute(Mux, <<"nothing">>),
    {ok, [2, 1, 0]} = snakemux:stream_fold(Mux, <<"ping_stream">>, #{count => 3, interval => 0},
                                           fun(#{<<"index">> := I}, Acc) -> {cont, [I | Acc]} end, []).

%% Every kind of target: a worker that listens there answers.
targets(_) ->
    Abstract = "unix-abstract:snakemux-" ++ os:getpid(),
    [
        begin
            {Port, Ready} = serve(Address),
            Mux = start([{attach, Target(Ready)}]),
            {ok, #{<<"pid">> := _}} = snakemux:execute(Mux, <<"whoami">>),
            stop(Mux),
            port_close(Port)
        end
     || {Address, Target} <- [
            {"127.0.0.1:0", fun("PORT=" ++ N) -> "ipv4:127.0.0.1:" ++ N end},
            {"127.0.0.1:0", fun("PORT=" ++ N) -> "dns:localhost:" ++ N end},
            {"[::1]:0", fun("PORT=" ++ N) -> "ipv6:[::1]:" ++ N end},
            {Abstract, fun(_) -> Abstract end}
        ]
    ].

%% A worker at an address of one's own, and what it said when it was ready.
serve(Address) ->
    {python, #{python := Python, path := Path}} = python(),
    Library = filename:join([snakemux_test_tools:root(), "priv", "python"]),
    Port = open_port({spawn_executable, snakemux_test_tools:program()}, [
        {args, ["exec", "--", Python, "-u", "-m", "snakemux", "mux_worker", "--address", Address]},
        {line, 4096}, exit_status, stderr_to_stdout, {env, [{"PYTHONPATH", Path ++ ":" ++ Library}]}
    ]),
    {Port, await_line(Port)}.

await_line(Port) ->
    receive
        {Port, {data, {eol, "GRPC_SERVER_READY_ON_" ++ Ready}}} -> Ready;
        {Port, {data, _}} -> await_line(Port)
    after 20000 -> ct:fail("the worker is not ready")
    end.

%% Nobody there: the call fails when that is known, and says so.
attached_far_away(_) ->
    Mux = start([]),
    {ok, <<"far">>} = snakemux:add_worker(Mux, {attach, "ipv4:127.0.0.1:1", [{id, <<"far">>}, {ready_timeout, 300}]}),
    within(2000, fun() -> {error, #{code := unavailable, sent := false}} = snakemux:execute(Mux, <<"x">>) end),
    {error, #{code := deadline_exceeded, message := Message}} = snakemux:await_ready(Mux, [{timeout, 100}]),
    ?assertNotEqual(nomatch, string:find(Message, "far is unreachable")).

refused_target(_) ->
    Mux = start([]),
    {ok, <<"far">>} = snakemux:add_worker(Mux, {attach, "dns:localhost:1", #{id => "far", ca_file => "/no/such/file"}}),
    ?assertNotEqual(nomatch, string:find(down_text(Mux), "/no/such/file")).

no_grpcio(Config) ->
    {python, #{python := Python}} = python(),
    Bare = mux_tools:script(Config, "bare_python", ["#!/bin/sh\nexec ", Python, " -S \"$@\"\n"]),
    Mux = start([]),
    {ok, _} = snakemux:add_worker(Mux, python(#{python => Bare, env => #{"SNAKEMUX_SERVER" => "aio"}})),
    Message = down_text(Mux),
    ?assertNotEqual(nomatch, string:find(Message, [Bare, " -m pip install grpcio"])).

%% The text of the only worker, once it is down.
down_text(Mux) ->
    eventually(fun() ->
        case snakemux:workers(Mux) of {ok, [#{text := Text}]} -> Text; _ -> false end
    end).

crash_loop(_) ->
    Mux = start([]),
    {ok, _} = snakemux:add_worker(Mux, python(#{env => #{"FAIL" => "the model file is missing"}})),
    %% Calls say why, when there is no hope left for them.
    {error, #{code := unavailable, message := Message}} =
        within(20_000, fun() -> snakemux:execute(Mux, <<"whoami">>, #{}, #{timeout => infinity}) end),
    ?assertNotEqual(nomatch, string:find(Message, "ended with status 3")),
    ?assertNotEqual(nomatch, string:find(Message, "  | the model file is missing")),
    {error, #{message := Text}} = snakemux:await_ready(Mux, #{timeout => 1}),
    ?assertNotEqual(nomatch, string:find(Text, "the model file is missing")).

%% Never a hot loop: each wait is twice the one before, from 100 ms on.
back_off(Config) ->
    Starts = filename:join(proplists:get_value(priv_dir, Config), "starts"),
    Mux = start([]),
    Script = mux_tools:script(Config, "ends_at_once", ["#!/bin/sh\ndate +%s%3N >>", Starts, "\n"]),
    {ok, _} = snakemux:add_worker(Mux, {exec, [Script, "{address}"]}),
    Times = eventually(fun() ->
        Lines = case file:read_file(Starts) of {ok, Text} -> string:lexemes(Text, "\n"); _ -> [] end,
        length(Lines) >= 6 andalso [binary_to_integer(Line) || Line <- Lines]
    end, 15_000),
    Waits = lists:zipwith(fun erlang:'-'/2, lists:sublist(Times, 2, 5), lists:sublist(Times, 5)),
    [?assert(Wait >= AtLeast - 20) || {Wait, AtLeast} <- lists:zip(Waits, [100, 200, 400, 800, 1600])],
    {ok, [#{restarts := Restarts}]} = snakemux:workers(Mux),
    ?assert(Restarts =< 6).

listens_late(_) ->
    Mux = start([]),
    {ok, _} = snakemux:add_worker(Mux, python(#{env => [{"LOAD", "1.5"}]})),
    {ok, #{<<"pid">> := _}} = snakemux:execute(Mux, <<"whoami">>),
    {ok, _} = snakemux:add_worker(Mux, python(#{id => "later", env => [{"LOAD", "1"}]})),
    {error, #{code := unavailable, sent := false}} =
        snakemux:execute(Mux, <<"whoami">>, #{}, #{worker => <<"later">>, wait_for_ready => false}).

never_ready(_) ->
    Mux = start([]),
    Sleeper = ["/bin/sh", "-c", "echo loading; exec sleep 1000", "{address}"],
    {ok, _} = snakemux:add_worker(Mux, {exec, Sleeper, #{ready_timeout => 1000}}),
    Message = down_text(Mux),
    ?assertNotEqual(nomatch, string:find(Message, "ready_timeout (1000 ms)")),
    ?assertNotEqual(nomatch, string:find(Message, "| loading")).

ids_and_indexes(_) ->
    Mux = start([python(#{id => "gpu", count => 2, env => #{"DEVICE" => "{index}", "NAME" => "worker {id}"}}),
                 python(#{env => #{"DEVICE" => "{index}"}})]),
    Env = fun(Id) -> element(2, snakemux:execute(Mux, <<"environment">>, #{}, #{worker => Id})) end,
    #{<<"DEVICE">> := <<"0">>, <<"NAME">> := <<"worker gpu-0">>} = Env(<<"gpu-0">>),
    #{<<"DEVICE">> := <<"1">>, <<"NAME">> := <<"worker gpu-1">>} = Env(<<"gpu-1">>),
    #{<<"DEVICE">> := <<"0">>} = Env(<<"py">>).

environment(_) ->
    Secrets = ["RELEASE_COOKIE", "RELEASE_NODE", "ERL_AFLAGS", "BINDIR", "ROOTDIR", "EMU", "PROGNAME"],
    Before = [{Name, os:getenv(Name)} || Name <- ["ERL_AFLAGS", "ROOTDIR", "BINDIR", "EMU", "PROGNAME"]],
    [os:putenv(Name, "secret") || Name <- ["RELEASE_COOKIE", "RELEASE_NODE"]],
    os:putenv("OURS", "1"),
    os:putenv("THEIRS", "2"),
    try
        Mux = start([
            python(#{id => "all", env => #{"MINE" => "3"}}), python(#{id => "none", env_inherit => none}),
            python(#{id => "some", env_inherit => ["OURS"]})
        ]),
        Env = fun(Id) -> element(2, snakemux:execute(Mux, <<"environment">>, #{}, #{worker => Id})) end,
        [?assertNot(is_map_key(list_to_binary(Name), Env(Id))) || Name <- Secrets, Id <- [<<"all">>, <<"none">>, <<"some">>]],
        ?assertMatch(#{<<"OURS">> := <<"1">>, <<"THEIRS">> := <<"2">>, <<"MINE">> := <<"3">>, <<"PATH">> := _}, Env(<<"all">>)),
        ?assertMatch(#{<<"OURS">> := <<"1">>, <<"PATH">> := _}, Env(<<"some">>)),
        ?assertNot(is_map_key(<<"THEIRS">>, Env(<<"some">>))),
        ?assertNot(is_map_key(<<"OURS">>, Env(<<"none">>))),
        %% The port program has no more of it.
        {ok, Mine} = file:read_file("/proc/" ++ integer_to_list(mux_tools:port_pid(Mux)) ++ "/environ"),
        [?assertEqual(nomatch, string:find(Mine, Name ++ "=")) || Name <- Secrets],
        ?assertNotEqual(nomatch, string:find(Mine, "GLIBC_TUNABLES="))
    after
        [os:unsetenv(Name) || Name <- ["RELEASE_COOKIE", "RELEASE_NODE", "OURS", "THEIRS"]],
        [os:putenv(Name, Value) || {Name, Value} <- Before, is_list(Value)]
    end.

%% ---- Callers ----

callers_that_die(_) ->
    Mux = start([python(#{threads => 4})]),
    Caller = spawn(fun() ->
        snakemux:execute_async(Mux, <<"block">>, #{name => died}),
        snakemux:execute_stream(Mux, <<"numbers">>, #{name => died}, #{credit => 3}),
        snakemux:execute_async(Mux, <<"nap">>, #{ms => 1}),
        receive stop -> ok end
    end),
    eventually(fun() -> {ok, 2} =:= snakemux:execute(Mux, <<"begun">>, #{name => died}) end, 2000),
    exit(Caller, kill),
    eventually(fun() -> {ok, 2} =:= snakemux:execute(Mux, <<"ended">>, #{name => died}) end, 2000),
    eventually(fun() -> {ok, []} =:= snakemux:calls(Mux) end, 1000).
