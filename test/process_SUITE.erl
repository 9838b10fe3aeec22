%% The life and death of processes: whatever is killed, stopped, stuck or missing, no call hangs and nothing is left
%% over. The times given to within/2 and eventually/2 are the ones that docs/OPERATIONS.md promises.
-module(process_SUITE).
-include_lib("stdlib/include/assert.hrl").
-compile(export_all).

-import(mux_tools, [
    python/0, python/1, start/1, start/2, stop/1, exec/3, eventually/1, eventually/2, within/2, pid_of/2, port_pid/1, signal/2,
    is_alive/1, descendants/1, script/3, silence/0
]).

suite() -> [{timetrap, {minutes, 1}}].

all() ->
    [
        beam_killed, beam_terminated, beam_terminated_drains, guardian_killed, inner_guardian_killed,
        port_killed, port_killed_again_and_again, port_stopped, port_killed_slowly, port_stopped_while_idle, pins_after_errors,
        pins_of_running_calls,
        mux_killed, mux_killed_while_it_takes_commands, supervisor_killed, all_killed_and_started_again, worker_process_killed,
        commands_handed_over, mux_killed_with_calls_handed_over, stopped_with_calls_handed_over,
        stopped_just_after_a_call_was_handed_over, killed_before_the_command_is_written, mux_fails_with_a_call_handed_over, hello_twice,
        pin_of_a_call_handed_over, handing_over_takes_a_turn, port_stopped_with_calls_handed_over,
        large_results_come_whole,
        worker_killed, worker_killed_in_stream, worker_stopped, worker_stopped_with_keepalive, worker_stopped_while_written_to, foreign_worker_stopped, busy_worker_is_left_alone, kill_unresponsive,
        program_missing, program_not_executable, program_lacks_library, program_fails, program_of_other_version, program_says_nothing,
        program_says_nonsense, program_gets_stuck,
        stuck_threads, gil_held, stuck_is_ignored, {group, aio},
        stop_drains, stop_cancels, stop_kills, stop_with_port_stopped, stop_with_guardian_stopped,
        prints_megabytes, closes_output, caller_dies_before_it_writes
    ].

groups() ->
    [{aio, [], [
        worker_killed, worker_killed_in_stream, worker_stopped, worker_stopped_with_keepalive, stuck_threads, gil_held, stuck_is_ignored, stop_drains, stop_cancels
    ]}].

%% The other server of the Python library; all workers inherit our environment.
init_per_group(aio, Config) ->
    true = os:putenv("SNAKEMUX_SERVER", "aio"),
    Config.

end_per_group(aio, _) -> os:unsetenv("SNAKEMUX_SERVER").

end_per_testcase(_, _) ->
    [stop(Name) || Name <- registered(), lists:prefix("mux_", atom_to_list(Name))],
    ok.

%% ---- The BEAM ends ----

beam_killed(_) ->
    {_, Beam, Pids} = other_beam(),
    signal("KILL", Beam),
    all_gone(Pids, 2000).

beam_terminated(_) ->
    {_, Beam, Pids} = other_beam(),
    signal("TERM", Beam),
    all_gone([Beam | Pids], 8000).

%% The instance is part of an application, and ends with it: what runs may finish until drain_timeout.
beam_terminated_drains(Config) ->
    Peer = start_beam(),
    Options = #{name => mux_drains, workers => [python()], drain_timeout => 2000},
    ok = peer:call(Peer, mux_application, run, [Options]),
    ok = peer:call(Peer, snakemux, await_ready, [mux_drains, #{timeout => 15000}]),
    Path = fun(Name) -> filename:join(proplists:get_value(priv_dir, Config), Name) end,
    [
        peer:cast(Peer, snakemux, execute, [mux_drains, <<"finish">>, #{path => list_to_binary(Path(Name)), ms => Ms}])
     || {Name, Ms} <- [{"short", 1000}, {"long", 60000}]
    ],
    eventually(fun() -> {ok, Calls} = peer:call(Peer, snakemux, calls, [mux_drains]), length(Calls) =:= 2 end),
    Beam = list_to_integer(peer:call(Peer, os, getpid, [])),
    Pids = [Beam | descendants(Beam)],
    ?assert(length(Pids) >= 5),
    signal("TERM", Beam),
    all_gone(Pids, 5000),
    ?assertEqual([{ok, <<"finished">>}, {ok, <<"cancelled">>}], [file:read_file(Path(Name)) || Name <- ["short", "long"]]).

start_beam() ->
    Paths = lists:append([["-pa", filename:absname(Path)] || Path <- code:get_path(), string:find(Path, "snakemux") =/= nomatch]),
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => Paths}),
    Peer.

%% A BEAM of its own with an instance: workers with children of all kinds, and some that never become ready.
other_beam() ->
    Peer = start_beam(),
    Beam = list_to_integer(peer:call(Peer, os, getpid, [])),
    Mux = peer:call(Peer, mux_tools, start, [[python()]]),
    Bad = filename:join([snakemux_test_tools:root(), "test", "support", "process"]),
    [{ok, _} = peer:call(Peer, snakemux, add_worker, [Mux, {exec, [filename:join(Bad, Script), "{address}"], #{id => Script}}])
     || Script <- ["ignores_term.sh", "daemonizes.py", "leaves_grandchild.sh"]],
    Children = peer:call(Peer, mux_tools, exec, [Mux, <<"children">>, #{}]),
    3 = length(Children),
    %% The worker, its children and guardians are eight, the port program one, and each script is four at least.
    Pids = eventually(fun() ->
        Found = descendants(Beam),
        length(Found) >= 21 andalso Found
    end),
    [?assert(lists:member(Child, Pids)) || Child <- Children],
    {Peer, Beam, Pids}.

all_gone(Pids, Ms) -> eventually(fun() -> not lists:any(fun mux_tools:is_alive/1, Pids) end, Ms).

%% ---- A guardian ends ----

guardian_killed(_) -> guardian_killed_with(fun(Guardian) -> Guardian end).

inner_guardian_killed(_) -> guardian_killed_with(fun(Guardian) -> hd(descendants(Guardian)) end).

guardian_killed_with(Victim) ->
    Mux = start([python()]),
    {ok, [#{guardian_pid := Guardian}]} = snakemux:workers(Mux),
    exec(Mux, <<"children">>, #{}),
    Ref = snakemux:execute_async(Mux, <<"block">>, #{name => guarded}),
    eventually(fun() -> {ok, 1} =:= snakemux:execute(Mux, <<"begun">>, #{name => guarded}) end),
    %% A child of a child may come a moment after the answer.
    Pids = eventually(fun() -> case descendants(Guardian) of [_, _, _, _, _, _ | _] = All -> All; _ -> false end end),
    signal("KILL", Victim(Guardian)),
    within(2000, fun() ->
        {error, #{code := unavailable, sent := true}} = snakemux:next(Ref),
        all_gone([Guardian | Pids], 2000)
    end),
    {ok, #{<<"pid">> := Pid}} = eventually(fun() ->
        case snakemux:execute(Mux, <<"whoami">>) of {ok, _} = Ok -> Ok; _ -> false end
    end),
    ?assertNot(lists:member(Pid, Pids)).

%% ---- The port program ends ----

port_killed(_) ->
    Mux = start([python(#{env => #{"LOAD" => "10"}})]),
    {ok, #{<<"total">> := 1, <<"pid">> := Worker}} = snakemux:execute_in_session(Mux, <<"s">>, <<"add_up">>, #{by => 1}),
    Test = self(),
    Waiting = [
        spawn_link(fun() -> Test ! {self(), snakemux:execute(Mux, <<"block">>, #{name => x})} end),
        spawn_link(fun() -> Test ! {self(), snakemux:stream_fold(Mux, <<"numbers">>, #{name => x, pause => 0.01},
                                                                 fun(_, N) -> {cont, N + 1} end, 0)} end)
    ],
    Stream = snakemux:execute_stream(Mux, <<"numbers">>, #{name => x}, #{credit => 1}),
    {chunk, _} = snakemux:next(Stream, 5000),
    passive = snakemux:next(Stream, 5000),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 3 end),
    Port = port_pid(Mux),
    signal("KILL", Port),
    within(500, fun() ->
        {error, #{code := unavailable, reason := port_down, sent := true}} = snakemux:next(Stream),
        [receive {Pid, Result} -> {error, #{reason := port_down}} = first(Result) end || Pid <- Waiting]
    end),
    %% Served again, by the very same process, which knows its session.
    within(1000, fun() ->
        {ok, #{<<"total">> := 2, <<"pid">> := Worker}} = answered(fun() ->
            snakemux:execute_in_session(Mux, <<"s">>, <<"add_up">>, #{by => 1})
        end)
    end),
    ?assertNotEqual(Port, port_pid(Mux)),
    {ok, [#{restarts := 0, state := ready}]} = snakemux:workers(Mux),
    silence().

first({error, Error, _}) -> {error, Error};
first(Result) -> Result.

%% A call is refused for the moment in which there is no port program, and says that it is safe to repeat.
answered(Call) ->
    case Call() of
        {error, #{reason := port_down, sent := false}} -> answered(Call);
        Answer -> Answer
    end.

%% It is replaced each time, more slowly when it keeps ending, and always within a second for a while.
port_killed_again_and_again(_) ->
    Mux = start([python(#{count => 2})]),
    Pids = [pid_of(Mux, Id) || Id <- [<<"py-0">>, <<"py-1">>]],
    [begin
        signal("KILL", port_pid_soon(Mux)),
        within(1500, fun() ->
            {ok, _} = eventually(fun() -> case snakemux:execute(Mux, <<"whoami">>) of {ok, _} = Ok -> Ok; _ -> false end end)
        end)
     end || _ <- lists:seq(1, 4)],
    ?assertEqual(Pids, [pid_of(Mux, Id) || Id <- [<<"py-0">>, <<"py-1">>]]),
    silence().

port_pid_soon(Mux) ->
    eventually(fun() -> case snakemux:stats(Mux) of {ok, #{os_pid := Pid}} -> Pid; _ -> false end end).

port_stopped(_) ->
    Mux = start([python()]),
    {Port, Worker} = {port_pid(Mux), pid_of(Mux, <<"py">>)},
    Running = snakemux:execute_async(Mux, <<"block">>, #{name => stopped}),
    signal("STOP", Port),
    Late = snakemux:execute_async(Mux, <<"whoami">>),
    within(6000, fun() ->
        [{error, #{code := unavailable, reason := port_down}} = snakemux:next(Ref) || Ref <- [Running, Late]]
    end),
    within(1000, fun() -> {ok, #{<<"pid">> := Worker}} = answered(fun() -> snakemux:execute(Mux, <<"whoami">>) end) end),
    eventually(fun() -> not is_alive(Port) end).

%% On a busy machine kill(1) takes its time: nobody else waits for it.
port_killed_slowly(Config) ->
    Dir = filename:dirname(script(Config, "kill", "#!/bin/sh\nsleep 2\nexec /bin/kill \"$@\"\n")),
    Path = os:getenv("PATH"),
    Mux = start([python()]),
    Port = port_pid(Mux),
    signal("STOP", Port),
    os:putenv("PATH", Dir ++ ":" ++ Path),
    try
        Running = snakemux:execute_async(Mux, <<"whoami">>),
        ?assertMatch({error, #{reason := port_down}}, abandons_while(Mux, Running)),
        ?assert(is_alive(Port)),
        within(1000, fun() -> answered(fun() -> snakemux:execute(Mux, <<"whoami">>) end) end)
    after
        os:putenv("PATH", Path)
    end,
    eventually(fun() -> not is_alive(Port) end).

%% Until the call ends others are abandoned, each promptly.
abandons_while(Mux, Running) ->
    within(900, fun() -> snakemux:abandon(snakemux:execute_async(Mux, <<"whoami">>)) end),
    case snakemux:next(Running, 20) of
        timeout -> abandons_while(Mux, Running);
        End -> End
    end.

port_stopped_while_idle(_) ->
    Mux = start([]),
    Port = port_pid(Mux),
    signal("STOP", Port),
    eventually(fun() -> not is_alive(Port) end, 6000),
    ?assertNotEqual(Port, port_pid_soon(Mux)).

%% A session whose first call failed has its memory all the same.
pins_after_errors(_) ->
    pins_hold(fun(Mux, Sessions) ->
        [{error, #{origin := worker}} = snakemux:execute(Mux, <<"add_up_and_fail">>, #{by => 1}, #{session => S}) || S <- Sessions]
    end).

%% And so has one whose first call was still running when the port program died.
pins_of_running_calls(_) ->
    pins_hold(fun(Mux, Sessions) ->
        [snakemux:execute_async(Mux, <<"add_up_and_block">>, #{by => 1}, #{session => S}) || S <- Sessions],
        eventually(fun() ->
            lists:sum([exec_on(Mux, Id, <<"begun">>, #{name => added}) || Id <- [<<"py-0">>, <<"py-1">>]]) =:= length(Sessions)
        end)
    end).

pins_hold(First) ->
    Mux = start([python(#{count => 2})]),
    Sessions = [<<"s", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 8)],
    First(Mux, Sessions),
    signal("KILL", port_pid(Mux)),
    eventually(fun() -> element(1, snakemux:stats(Mux)) =:= ok end),
    mux_tools:wait_ready(Mux, 1000),
    %% In another order: sessions that are not pinned would not meet their memory by chance, as workers take turns.
    [{ok, #{<<"total">> := 2}} = snakemux:execute(Mux, <<"add_up">>, #{by => 1}, #{session => S}) || S <- lists:reverse(Sessions)].

%% ---- Processes of the application end ----

mux_killed(_) ->
    Mux = start([python()]),
    Worker = pid_of(Mux, <<"py">>),
    Ref = snakemux:execute_async(Mux, <<"block">>, #{name => mux}),
    [Pid] = [P || {mux, P, _, _} <- supervisor:which_children(Mux)],
    exit(Pid, kill),
    within(500, fun() -> {error, #{code := unavailable}} = snakemux:next(Ref) end),
    within(1000, fun() -> {ok, #{<<"pid">> := Worker}} = answered(fun() -> snakemux:execute(Mux, <<"whoami">>) end) end),
    silence().

%% Callers had been told to hand their commands to it: nobody takes them until the next port program says hello.
mux_killed_while_it_takes_commands(Config) ->
    Go = filename:join(proplists:get_value(priv_dir, Config), "go"),
    ok = file:write_file(Go, ""),
    Program = script(Config, "starts_slowly", ["#!/bin/sh\nuntil [ -e ", Go, " ]; do sleep 0.1; done\nexec ",
        snakemux_test_tools:program(), " \"$@\"\n"]),
    Mux = start([], #{program => Program}),
    ok = file:delete(Go),
    {ok, Table} = snakemux_table:find(Mux),
    {ok, Pid} = snakemux_table:process(Table, mux),
    snakemux_table:hand_over(Table, Pid),
    exit(Pid, kill),
    eventually(fun() -> snakemux_table:process(Table, mux) =/= {ok, Pid} end),
    receive after 200 -> ok end, % the next one has told those that had waited
    Test = self(),
    spawn_link(fun() -> Test ! snakemux:execute(Mux, <<"whoami">>) end), % only who waits for the end hands over
    receive {error, #{code := unavailable, reason := port_down, sent := false}} -> ok after 500 -> error(silence) end,
    ok = file:write_file(Go, "").

supervisor_killed(_) ->
    Mux = start([python()]),
    Worker = pid_of(Mux, <<"py">>),
    Message = snakemux:execute_async(Mux, <<"block">>, #{name => supervisor}),
    Test = self(),
    Waiting = spawn_link(fun() -> Test ! {self(), snakemux:execute(Mux, <<"block">>, #{name => supervisor})} end),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 2 end),
    exit(whereis(Mux), kill),
    within(500, fun() ->
        receive {snakemux, Message, {error, #{code := unavailable}}} -> ok end,
        receive {Waiting, {error, #{code := unavailable}}} -> ok end
    end),
    eventually(fun() -> not is_alive(Worker) end, 6000),
    {error, #{code := unavailable, sent := false}} = snakemux:execute(Mux, <<"whoami">>),
    silence().

%% Nobody is left to tell the callers, and another instance has the name already.
all_killed_and_started_again(_) ->
    Mux = start([python()]),
    Calls = [snakemux:execute_async(Mux, <<"block">>, #{name => N}) || N <- [1, 2]],
    [Waiting, Late] = Calls,
    Test = self(),
    Instance = whereis(Mux),
    Monitor = erlang:monitor(process, Instance),
    [Pid] = [P || {mux, P, _, _} <- supervisor:which_children(Mux)],
    _ = spawn_link(fun() -> receive after 50 -> [exit(P, kill) || P <- [Pid, Instance]], Test ! killed end end),
    within(500, fun() -> {error, #{code := unavailable, reason := port_down}} = snakemux:next(Waiting) end),
    receive killed -> ok end,
    receive {'DOWN', Monitor, process, Instance, _} -> ok end,
    {ok, Again} = snakemux:start_link(#{name => Mux}),
    unlink(Again),
    within(500, fun() -> {error, #{code := unavailable, reason := port_down}} = snakemux:next(Late) end),
    ok = snakemux:cancel(Late),
    ok = snakemux:abandon(Late),
    {ok, _} = snakemux:stats(Mux),
    silence().

%% Under load the mux writes the commands of callers that wait, many in one frame: each gets its own answer, one that
%% dies is cancelled, and all of them hear of the end of the port program.
commands_handed_over(_) ->
    Mux = start([python()]),
    {ok, Table} = snakemux_table:find(Mux),
    {ok, Pid} = snakemux_table:process(Table, mux),
    HandOver = fun() -> snakemux_table:hand_over(Table, Pid) end,
    HandOver(),
    Test = self(),
    Callers = fun(Call) -> [spawn_monitor(fun() -> Test ! {answer, N, Call(N)} end) || N <- lists:seq(1, 200)] end,
    Ended = fun(Pids) -> [receive {'DOWN', M, process, P, _} -> ok end || {P, M} <- Pids] end,
    Ended(Callers(fun(N) -> [exec(Mux, <<"give_back">>, #{n => N}) || _ <- lists:seq(1, 5)] end)),
    [receive {answer, N, All} -> ?assertEqual(lists:duplicate(5, #{<<"n">> => N}), All) end || N <- lists:seq(1, 200)],
    %% What is large, or must keep its order, is written by its caller.
    #{<<"text">> := <<"xxx", _/binary>>} = exec(Mux, <<"give_back">>, #{text => binary:copy(<<"x">>, 100000)}),
    HandOver(),
    Dying = Callers(fun(N) -> exec(Mux, <<"block">>, #{name => N}) end),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 200 end),
    [exit(P, kill) || {P, _} <- Dying],
    Ended(Dying),
    eventually(fun() -> snakemux:calls(Mux) =:= {ok, []} end),
    HandOver(),
    Waiting = Callers(fun(N) -> snakemux:execute(Mux, <<"block">>, #{name => N}) end),
    signal("KILL", port_pid(Mux)),
    Ended(Waiting),
    [receive {answer, N, Answer} -> {error, #{code := unavailable, reason := port_down}} = Answer end || N <- lists:seq(1, 200)],
    %% There is none left for which it would wait, ten seconds as it comes.
    ?assert(stop(Mux) < 5000),
    silence().

%% Its caller dies when the mux has taken the call but has not written it.
killed_before_the_command_is_written(_) ->
    {Mux, Pid, _} = hands_over([python()]),
    Test = self(),
    {Caller, Monitor} = spawn_monitor(fun() ->
        {ok, _} = snakemux:execute(Mux, <<"whoami">>), % it is watched from now on
        Test ! {self(), ready},
        receive go -> snakemux:execute(Mux, <<"block">>, #{name => killed}) end
    end),
    receive {Caller, ready} -> ok end,
    ok = sys:suspend(Pid),
    Caller ! go,
    eventually(fun() -> length(calls_in_mailbox(Pid)) =:= 1 end),
    exit(Caller, kill),
    receive {'DOWN', Monitor, process, Caller, killed} -> ok end,
    ok = sys:resume(Pid),
    {ok, _} = snakemux:stats(Mux), % what was written before has been read
    within(1000, fun() -> eventually(fun() -> snakemux:calls(Mux) =:= {ok, []} end) end),
    silence().

%% The port program reads nothing any more: what was handed over waits as bytes, and each of its callers hears of the end once.
port_stopped_with_calls_handed_over(_) ->
    {Mux, Pid, _} = hands_over([python()]),
    signal("STOP", port_pid(Mux)),
    Test = self(),
    Args = #{text => lists:duplicate(3900, $x)},
    Call = fun(N) -> fun() -> Test ! {answer, N, snakemux:execute(Mux, <<"give_back">>, Args, #{timeout => infinity})} end end,
    Callers = [spawn_link(Call(N)) || N <- lists:seq(1, 2000)],
    eventually(fun() ->
        process_info(Pid, message_queue_len) =:= {message_queue_len, 0} andalso
            lists:all(fun(Caller) -> process_info(Caller, status) =:= {status, waiting} end, Callers)
    end),
    {memory, Memory} = process_info(Pid, memory),
    ?assert(Memory < 50_000_000),
    within(8000, fun() ->
        [receive {answer, N, {error, #{reason := port_down}}} -> ok end || N <- lists:seq(1, 2000)]
    end),
    silence().

%% Who is made way for executes as much as the run queue counted for that.
handing_over_takes_a_turn(_) ->
    {Mux, _, Table} = hands_over([python()]),
    Reductions = fun() -> {reductions, N} = process_info(self(), reductions), N end,
    Call = fun() -> Before = Reductions(), _ = exec(Mux, <<"give_back">>, #{}), Reductions() - Before end,
    _ = Call(), % the first call of a process does more
    HandedOver = [Call() || _ <- lists:seq(1, 5)], % one that takes for long was not made way for
    snakemux_table:hand_over(Table, direct),
    ?assert(lists:max(HandedOver) - Call() > 500).

%% A mux, to which small calls are handed until its load says otherwise.
hands_over(Workers) -> hands_over(Workers, #{}).

hands_over(Workers, Options) ->
    Mux = start(Workers, Options),
    {ok, Table} = snakemux_table:find(Mux),
    {ok, Pid} = snakemux_table:process(Table, mux),
    snakemux_table:hand_over(Table, Pid),
    {Mux, Pid, Table}.

calls_in_mailbox(Pid) ->
    {messages, Messages} = process_info(Pid, messages),
    [Call || {call, _, _, _} = Call <- Messages].

%% It has answered one of a frame, and fails with the next: nobody tells that one again.
mux_fails_with_a_call_handed_over(_) ->
    {Mux, Pid, Table} = hands_over([python()]),
    {ok, Port} = snakemux_table:port(snakemux_mux:ref(Mux)),
    Test = self(),
    Wait = fun(Name) ->
        Test ! {Name, snakemux:execute(Mux, <<"block">>, #{name => Name})},
        receive {snakemux, _, _} = Again -> Test ! {Name, Again} after 500 -> Test ! {Name, once} end
    end,
    _ = spawn_link(fun() -> Wait(one) end),
    {Caller, Call} = eventually(fun() -> case snakemux:calls(Mux) of {ok, [#{tag := Tag}]} -> Tag; _ -> false end end),
    _ = spawn_link(fun() -> Wait(other) end),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 2 end),
    Nonsense = {error, {Caller, Call}, #{code => unavailable, reason => no_worker, origin => mux, sent => false, message => nonsense}},
    Pid ! {Port, {data, term_to_binary([{ok, {Caller, Call}, #{<<"x">> => 1}, #{}}, Nonsense])}},
    within(500, fun() ->
        receive {one, {ok, #{<<"x">> := 1}}} -> ok end,
        receive {other, {error, #{code := unavailable, reason := port_down}}} -> ok end
    end),
    [receive {Name, Last} -> ?assertEqual(once, Last) end || Name <- [one, other]],
    eventually(fun() -> {ok, Next} = snakemux_table:process(Table, mux), Next =/= Pid end),
    silence().

%% Whatever stands behind it in its frame.
hello_twice(_) ->
    Mux = start([python()]),
    {ok, Table} = snakemux_table:find(Mux),
    {ok, Pid} = snakemux_table:process(Table, mux),
    {ok, Port} = snakemux_table:port(snakemux_mux:ref(Mux)),
    Program = port_pid(Mux),
    Hello = {hello, snakemux_proto:version(), #{limits => #{}}},
    Pid ! {Port, {data, term_to_binary([Hello, Hello, {ok, {1, 1}, #{}, #{}}])}},
    eventually(fun() -> is_other_program(Mux, Program) end),
    ok = snakemux:await_ready(Mux, #{timeout => 15000}),
    {ok, _} = snakemux:execute(Mux, <<"whoami">>, #{}),
    {ok, Pid} = snakemux_table:process(Table, mux),
    silence().

is_other_program(Mux, Program) ->
    case snakemux:stats(Mux) of
        {ok, #{os_pid := Next}} -> Next =/= Program;
        _ -> false
    end.

%% A running call is a use of its session.
pin_of_a_call_handed_over(_) ->
    {Mux, _, Table} = hands_over([python()], #{session_ttl => 1000}),
    {ok, _} = snakemux:execute_in_session(Mux, <<"s">>, <<"nap">>, #{ms => 3500}),
    [{<<"s">>, <<"py">>, _}] = snakemux_table:pins(Table),
    silence().

%% Nobody but the mux knows of them: whoever waits sees its end.
mux_killed_with_calls_handed_over(_) ->
    {Mux, Pid, Table} = hands_over([python()]),
    Test = self(),
    [spawn_link(fun() -> Test ! {answer, N, snakemux:execute(Mux, <<"block">>, #{name => N})} end) || N <- lists:seq(1, 20)],
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 20 end),
    ?assertNot(snakemux_table:has_calls(Table)),
    exit(Pid, kill),
    within(500, fun() -> [receive {answer, N, {error, #{code := unavailable, reason := port_down}}} -> ok end || N <- lists:seq(1, 20)] end),
    silence().

%% Those of them that run when the instance stops may finish, the rest hear of the stop; new ones are turned away.
stopped_with_calls_handed_over(_) ->
    {Mux, _, _} = hands_over([python()], #{drain_timeout => 3000}),
    Test = self(),
    Call = fun(Command, Args) -> spawn_link(fun() -> Test ! {Command, snakemux:execute(Mux, Command, Args)} end) end,
    Call(<<"block">>, #{name => stop}),
    Call(<<"nap">>, #{ms => 1000}),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 2 end),
    spawn_link(fun() -> stop(Mux), Test ! stopped end),
    {error, #{code := unavailable, reason := stopping, sent := false}} = eventually(fun() ->
        case snakemux:execute(Mux, <<"whoami">>) of {error, _} = Error -> Error; _ -> false end
    end),
    within(6000, fun() ->
        receive {<<"nap">>, {ok, _}} -> ok end,
        receive {<<"block">>, {error, #{code := cancelled}}} -> ok end,
        receive stopped -> ok end
    end),
    silence().

%% The mux hears of the stop before it has taken a call that was handed over earlier.
stopped_just_after_a_call_was_handed_over(_) ->
    {Mux, Pid, _} = hands_over([python()]),
    ok = sys:suspend(Pid),
    Test = self(),
    _ = spawn_link(fun() -> Test ! {answer, snakemux:execute(Mux, <<"nap">>, #{ms => 300})} end),
    eventually(fun() -> length(calls_in_mailbox(Pid)) =:= 1 end),
    _ = stop(Mux),
    within(500, fun() -> receive {answer, Answer} -> {ok, _} = Answer end end),
    silence().

%% Large results come in parts, side by side, and nothing of those that nobody waits for any more.
large_results_come_whole(_) ->
    Mux = start([python()]),
    Values = [binary:copy(<<N>>, 3000000) || N <- lists:seq($a, $h)],
    Give = fun(Value) -> snakemux:execute_async(Mux, <<"give_back">>, #{v => Value}) end,
    Refs = [Give(Value) || Value <- Values],
    [?assertEqual({ok, #{<<"v">> => Value}}, snakemux:next(Ref, 20000)) || {Value, Ref} <- lists:zip(Values, Refs)],
    Dying = spawn(fun() -> [Give(Value) || Value <- Values], receive after 100 -> ok end end),
    Abandoned = [Give(Value) || Value <- Values],
    [begin receive after 20 -> ok end, snakemux:abandon(Ref) end || Ref <- Abandoned],
    eventually(fun() -> not is_process_alive(Dying) andalso snakemux:calls(Mux) =:= {ok, []} end),
    ?assertEqual(#{<<"v">> => hd(Values)}, exec(Mux, <<"give_back">>, #{v => hd(Values)})),
    Cut = [Give(Value) || Value <- Values],
    signal("KILL", port_pid(Mux)),
    [case snakemux:next(Ref) of {ok, _} -> ok; {error, #{reason := port_down}} -> ok end || Ref <- Cut],
    #{<<"v">> := 1} = eventually(fun() ->
        case snakemux:execute(Mux, <<"give_back">>, #{v => 1}) of {ok, Result} -> Result; _ -> false end
    end),
    silence().

worker_process_killed(_) ->
    Mux = start([python()]),
    Worker = pid_of(Mux, <<"py">>),
    [{_, Sup, _, _}] = [C || {workers, _, _, _} = C <- supervisor:which_children(Mux)],
    [{_, Pid, _, _}] = supervisor:which_children(Sup),
    {ok, [#{target := <<"unix:", Socket/binary>>}]} = snakemux:workers(Mux),
    ?assert(filelib:is_dir(filename:dirname(Socket))),
    exit(Pid, kill),
    eventually(fun() -> not is_alive(Worker) end, 2000),
    eventually(fun() -> element(1, snakemux:execute(Mux, <<"whoami">>)) =:= ok end),
    ?assertNot(filelib:is_dir(filename:dirname(Socket))).

%% ---- A worker ends, or does not answer ----

worker_killed(_) ->
    Mux = start([python(#{count => 2})]),
    Worker = pid_of(Mux, <<"py-0">>),
    Ref = snakemux:execute_async(Mux, <<"block">>, #{name => killed}, #{worker => <<"py-0">>}),
    {ok, 1} = eventually(fun() -> case begun(Mux, killed) of {ok, 0} -> false; Ok -> Ok end end),
    signal("KILL", Worker),
    within(1000, fun() ->
        {error, #{code := unavailable, origin := transport, sent := true, worker := <<"py-0">>}} = snakemux:next(Ref)
    end),
    {ok, _} = snakemux:execute(Mux, <<"whoami">>),
    mux_tools:wait_ready(Mux, 15000),
    ?assertNotEqual(Worker, pid_of(Mux, <<"py-0">>)).

exec_on(Mux, Id, Command, Args) ->
    {ok, Result} = snakemux:execute(Mux, Command, Args, #{worker => Id}),
    Result.

begun(Mux, Name) -> snakemux:execute(Mux, <<"begun">>, #{name => Name}, #{worker => <<"py-0">>}).

worker_killed_in_stream(_) ->
    Mux = start([python()]),
    Worker = pid_of(Mux, <<"py">>),
    Fold = fun(#{<<"n">> := N}, _) -> N =:= 20 andalso signal("KILL", Worker), {cont, N} end,
    within(2000, fun() ->
        {error, #{code := unavailable, delivered := Delivered}, Last} =
            snakemux:stream_fold(Mux, <<"numbers">>, #{name => killed, pause => 0.005}, Fold, none),
        ?assertEqual(Delivered, Last + 1)
    end),
    eventually(fun() -> element(1, snakemux:execute(Mux, <<"whoami">>)) =:= ok end).

%% Noticed within health_interval + unresponsive_after, replaced after stuck_grace and 2 s more.
worker_stopped(_) ->
    Mux = start([python(#{count => 2, health_interval => 200, unresponsive_after => 300, stuck_grace => 1000})]),
    Worker = pid_of(Mux, <<"py-0">>),
    signal("STOP", Worker),
    Ref = snakemux:execute_async(Mux, <<"whoami">>, #{}, #{worker => <<"py-0">>, timeout => 1000}),
    eventually(fun() -> state(Mux, <<"py-0">>) =:= unresponsive end, 1500),
    %% Calls go to the other one.
    [{ok, _} = snakemux:execute(Mux, <<"whoami">>) || _ <- lists:seq(1, 5)],
    {error, #{code := deadline_exceeded}} = snakemux:next(Ref, 1500),
    eventually(fun() -> not is_alive(Worker) end, 4000),
    mux_tools:wait_ready(Mux, 15000).

%% HTTP/2 pings end the connection, and so its calls, also those without a deadline.
worker_stopped_with_keepalive(_) ->
    Mux = start([python(#{keepalive => 100, unresponsive_after => 500})]),
    Worker = pid_of(Mux, <<"py">>),
    Ref = snakemux:execute_async(Mux, <<"block">>, #{name => pinged}, #{timeout => infinity}),
    eventually(fun() -> {ok, 1} =:= snakemux:execute(Mux, <<"begun">>, #{name => pinged}) end),
    %% While it lives it answers them, busy or not.
    ?assertEqual(timeout, snakemux:next(Ref, 1000)),
    signal("STOP", Worker),
    {error, #{code := unavailable, origin := transport, sent := true}} = snakemux:next(Ref, 1500).

%% More than the socket and the window take: the writes to it never end. It is noticed like any other, its calls end on
%% time, and calls beside it are not concerned.
worker_stopped_while_written_to(_) ->
    Mux = start([python(#{count => 2, health_interval => 200, unresponsive_after => 300, stuck_grace => 1000})]),
    Worker = pid_of(Mux, <<"py-0">>),
    signal("STOP", Worker),
    Large = #{x => binary:copy(<<"x">>, 1 bsl 20)},
    Start = erlang:monotonic_time(millisecond),
    Refs = [snakemux:execute_async(Mux, <<"give_back">>, Large, #{worker => <<"py-0">>, timeout => 1500}) || _ <- lists:seq(1, 8)],
    Patient = snakemux:execute_async(Mux, <<"give_back">>, Large, #{worker => <<"py-0">>, timeout => infinity}),
    ok = snakemux:cancel(Patient),
    {error, #{code := cancelled}} = snakemux:next(Patient, 1000),
    eventually(fun() -> state(Mux, <<"py-0">>) =:= unresponsive end, 1500),
    [{ok, _} = snakemux:execute(Mux, <<"give_back">>, Large) || _ <- lists:seq(1, 5)],
    Left = fun() -> max(0, Start + 2500 - erlang:monotonic_time(millisecond)) end,
    [{error, #{code := deadline_exceeded}} = snakemux:next(Ref, Left()) || Ref <- Refs],
    eventually(fun() -> not is_alive(Worker) end, 6000),
    mux_tools:wait_ready(Mux, 15000).

state(Mux, Id) ->
    {ok, Workers} = snakemux:workers(Mux),
    hd([State || #{id := I, state := State} <- Workers, I =:= Id]).

%% One that is not of our library may just be busy: it is left alone, and is ready again when it answers.
foreign_worker_stopped(_) ->
    {Mux, Worker} = start_tutorial(#{}),
    signal("STOP", Worker),
    eventually(fun() -> state(Mux, <<"exec">>) =:= unresponsive end, 1500),
    {error, #{code := deadline_exceeded}} = snakemux:execute(Mux, <<"echo">>, #{}, #{timeout => 2500}),
    ?assert(is_alive(Worker)),
    signal("CONT", Worker),
    within(3000, fun() -> {ok, _} = snakemux:execute(Mux, <<"echo">>) end),
    {ok, [#{restarts := 0}]} = snakemux:workers(Mux).

%% Its only thread is busy, so Health waits like everybody else: it gets no new call, and finishes the one it has.
busy_worker_is_left_alone(_) ->
    {Mux, Worker} = start_tutorial(#{}),
    Ref = snakemux:execute_stream(Mux, <<"ping_stream">>, #{count => 4, interval => 1}),
    eventually(fun() -> state(Mux, <<"exec">>) =:= unresponsive end, 1500),
    {ok, [#{reason := silent}]} = snakemux:workers(Mux),
    Waiting = snakemux:execute_async(Mux, <<"echo">>),
    eventually(fun() -> {ok, #{queued := Queued}} = snakemux:stats(Mux), Queued =:= 1 end),
    ?assertEqual({done, 4}, read(Ref, 0)),
    {ok, _} = snakemux:next(Waiting, 3000),
    ?assert(is_alive(Worker)),
    {ok, [#{restarts := 0}]} = snakemux:workers(Mux).

kill_unresponsive(_) ->
    {Mux, Worker} = start_tutorial(#{kill_unresponsive => true}),
    signal("STOP", Worker),
    eventually(fun() -> not is_alive(Worker) end, 4000),
    mux_tools:wait_ready(Mux, 15000),
    {ok, _} = snakemux:execute(Mux, <<"echo">>).

start_tutorial(Options) ->
    {python, #{python := Python}} = python(),
    Script = filename:join([snakemux_test_tools:root(), "test", "support", "tutorial_worker.py"]),
    Base = #{health_interval => 200, unresponsive_after => 300, cd => filename:join(snakemux_test_tools:root(), "proto")},
    Mux = start([{exec, [Python, Script, "--port", "{port}"], maps:merge(Base, Options)}]),
    {ok, [#{guardian_pid := Guardian}]} = snakemux:workers(Mux),
    {Mux, lists:last(descendants(Guardian))}.

%% ---- The port program can't start ----

program_missing(Config) ->
    Program = filename:join(proplists:get_value(priv_dir, Config), "not_built_yet"),
    unstartable(Program, ["is not there", "make"], 1000),
    %% Once it is there, it is used.
    {ok, Sup} = snakemux:start_link(#{name => mux_missing, program => Program, workers => [python()]}),
    unlink(Sup),
    Mux = mux_missing,
    {error, #{reason := port_down}} = snakemux:execute(Mux, <<"whoami">>),
    ok = file:make_symlink(snakemux_test_tools:program(), Program),
    {ok, _} = eventually(fun() -> case snakemux:stats(Mux) of {ok, _} = Ok -> Ok; _ -> false end end, 6000),
    within(10000, fun() -> {ok, _} = snakemux:execute(Mux, <<"whoami">>) end).

program_not_executable(Config) ->
    Program = script(Config, "not_executable", ""),
    ok = file:change_mode(Program, 8#644),
    unstartable(Program, ["may not be executed", "chmod +x"], 1000).

program_lacks_library(Config) ->
    unstartable(script(Config, "lacks_library", "#!/bin/sh\nexit 127\n"), ["shared library", "ldd"], 1000).

program_fails(Config) ->
    unstartable(script(Config, "fails", "#!/bin/sh\nexit 3\n"), ["status 3", "--version"], 1000).

program_of_other_version(Config) ->
    Hello = term_to_binary({hello, 2, #{version => <<"9.0.0">>}}),
    Frame = filename:join(proplists:get_value(priv_dir, Config), "hello"),
    ok = file:write_file(Frame, <<(byte_size(Hello)):32, Hello/binary>>),
    unstartable(script(Config, "other_version", ["#!/bin/sh\ncat ", Frame, "\nexec sleep 1000\n"]), ["version 2", "9.0.0", "one source"], 1000).

program_says_nothing(Config) ->
    Program = script(Config, "says_nothing", "#!/bin/sh\nexec sleep 1000 4242\n"),
    unstartable(Program, ["hello"], 6000).

program_says_nonsense(Config) ->
    unstartable(script(Config, "says_nonsense", "#!/bin/sh\nprintf '\\000\\000\\000\\004what'\nexec sleep 1000\n"), ["is it snakemux"], 1000).

%% It has said hello, and then nothing ever again, as when the thread that takes completions is stuck.
program_gets_stuck(Config) ->
    Hello = term_to_binary({hello, snakemux_proto:version(), #{version => <<"0">>, limits => #{}}}),
    Frame = filename:join(proplists:get_value(priv_dir, Config), "right_hello"),
    ok = file:write_file(Frame, <<(byte_size(Hello)):32, Hello/binary>>),
    Program = script(Config, "gets_stuck", ["#!/bin/sh\ncat ", Frame, "\nexec sleep 1000 2424\n"]),
    Before = descendants(list_to_integer(os:getpid())),
    {ok, Sup} = snakemux:start_link(#{name => mux_stuck, program => Program}),
    unlink(Sup),
    %% Its cat may not have ended yet.
    Stuck = eventually(fun() -> case descendants(list_to_integer(os:getpid())) -- Before of [Pid] -> Pid; _ -> false end end),
    within(6000, fun() ->
        {error, #{code := unavailable, reason := port_down}} = snakemux:execute(mux_stuck, <<"whoami">>, #{}, #{timeout => infinity})
    end),
    eventually(fun() -> not is_alive(Stuck) end),
    stop(mux_stuck).

%% The instance lives, and says what to do.
unstartable(Program, Words, Ms) ->
    Before = descendants(list_to_integer(os:getpid())),
    {Sup, Message} = within(Ms, fun() ->
        {ok, Pid} = snakemux:start_link(#{name => mux_unstartable, program => Program}),
        unlink(Pid),
        {error, #{code := unavailable, reason := port_down, sent := false, message := Text}} =
            snakemux:execute(mux_unstartable, <<"whoami">>),
        {Pid, Text}
    end),
    [?assertNotEqual(nomatch, string:find(Message, Word)) || Word <- Words],
    %% It is tried again, and the instance outlives that.
    receive after 1000 -> ok end,
    ?assertEqual(Sup, whereis(mux_unstartable)),
    stop(mux_unstartable),
    eventually(fun() -> descendants(list_to_integer(os:getpid())) -- Before =:= [] end).

%% ---- Handlers that outlive their call ----

%% Both threads are stuck: each caller hears once and on time; calls succeed within timeout + stuck_grace +
%% health_interval + the restart.
stuck_threads(_) ->
    Mux = start([python(#{threads => 2, stuck_grace => 500, health_interval => 300})]),
    Worker = pid_of(Mux, <<"py">>),
    Refs = [snakemux:execute_async(Mux, <<"spin">>, #{}, #{timeout => 500}) || _ <- [1, 2]],
    within(1500, fun() -> [{error, #{code := deadline_exceeded}} = snakemux:next(Ref) || Ref <- Refs] end),
    within(8000, fun() ->
        {ok, _} = eventually(fun() ->
            case snakemux:execute(Mux, <<"nap">>, #{ms => 1}, #{timeout => 2000}) of {ok, _} = Ok -> Ok; _ -> false end
        end, 8000)
    end),
    ?assertNot(is_alive(Worker)),
    {ok, [#{restarts := 1}]} = snakemux:workers(Mux),
    silence().

gil_held(_) ->
    Mux = start([python(#{threads => 2, stuck_grace => 500, health_interval => 300, unresponsive_after => 2000})]),
    Worker = pid_of(Mux, <<"py">>),
    within(1500, fun() ->
        {error, #{code := deadline_exceeded}} = snakemux:execute(Mux, <<"hold_the_gil">>, #{}, #{timeout => 500})
    end),
    %% A call that came before this was noticed, and has plenty of time, holds nothing up if Health is silent (aio), and
    %% is waited for if it says that the worker is unhealthy.
    Patient = snakemux:execute_async(Mux, <<"nap">>, #{ms => 1}),
    within(18000, fun() ->
        {error, #{code := unavailable}} = snakemux:next(Patient),
        {ok, _} = snakemux:execute(Mux, <<"nap">>, #{ms => 1})
    end),
    ?assertNot(is_alive(Worker)),
    silence().

stuck_is_ignored(_) ->
    Mux = start([python(#{threads => 1, stuck_grace => 200, health_interval => 200, on_stuck => ignore})]),
    Worker = pid_of(Mux, <<"py">>),
    {error, #{code := deadline_exceeded}} = snakemux:execute(Mux, <<"nap">>, #{ms => 2500}, #{timeout => 100}),
    eventually(fun() -> state(Mux, <<"py">>) =:= unresponsive end),
    %% No new call goes there, until the handler has ended after all.
    Ref = snakemux:execute_async(Mux, <<"whoami">>),
    eventually(fun() -> {ok, #{queued := Queued}} = snakemux:stats(Mux), Queued =:= 1 end, 1000),
    {ok, #{<<"pid">> := Worker}} = snakemux:next(Ref, 5000).

%% ---- The instance stops ----

%% New calls are turned away, running ones finish: those that sleep, and streams, whose credit still comes through.
stop_drains(_) ->
    Mux = start([python()]),
    Test = self(),
    Reader = spawn_link(fun() ->
        Ref = snakemux:execute_stream(Mux, <<"numbers">>, #{name => drains, count => 50, pause => 0.02}, #{credit => 1}),
        Test ! {self(), read(Ref, 0)}
    end),
    Ref = snakemux:execute_async(Mux, <<"nap">>, #{ms => 1000}),
    eventually(fun() -> {ok, Calls} = snakemux:calls(Mux), length(Calls) =:= 2 end),
    Stopper = spawn_link(fun() -> Test ! {self(), stop(Mux)} end),
    {error, #{code := unavailable, reason := stopping, sent := false}} = eventually(fun() ->
        case snakemux:execute(Mux, <<"whoami">>) of {error, _} = Error -> Error; _ -> false end
    end),
    {ok, _} = snakemux:next(Ref),
    receive {Reader, Read} -> ?assertEqual({done, 50}, Read) end,
    receive {Stopper, Ms} -> ?assert(Ms < 5000) end,
    silence().

read(Ref, Count) ->
    case snakemux:next(Ref) of
        passive -> snakemux:credit(Ref, 1), read(Ref, Count);
        {chunk, _} -> read(Ref, Count + 1);
        {done, _} -> {done, Count};
        Other -> {Other, Count}
    end.

%% What is not over after drain_timeout is cancelled, at the worker too.
stop_cancels(_) ->
    Mux = start([python()], #{drain_timeout => 300}),
    Worker = pid_of(Mux, <<"py">>),
    Refs = [snakemux:execute_async(Mux, <<"block">>, #{name => x}), snakemux:execute_stream(Mux, <<"numbers">>, #{name => x}, #{credit => 1})],
    {chunk, _} = snakemux:next(lists:last(Refs), 5000),
    passive = snakemux:next(lists:last(Refs), 5000),
    Ms = stop(Mux),
    ?assert(Ms >= 300),
    ?assert(Ms < 3000),
    [{error, #{code := cancelled}} = snakemux:next(Ref, 0) || Ref <- Refs],
    ?assertNot(is_alive(Worker)),
    silence().

%% Two workers that ignore SIGTERM are killed after 5 s, both at the same time.
stop_kills(_) ->
    {python, #{python := Python}} = python(),
    Deaf = [Python, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(1000)", "{address}"],
    {ok, Sup} = snakemux:start_link(#{name => mux_deaf, workers => [{exec, Deaf, #{count => 2, start_concurrency => 2}}]}),
    unlink(Sup),
    %% What the guardian has forked needs a moment to become Python, and that until it ignores the signal.
    Pids = eventually(fun() ->
        {ok, Workers} = snakemux:workers(mux_deaf),
        Below = lists:append([descendants(Guardian) || #{guardian_pid := Guardian} <- Workers]),
        Pythons = [Pid || Pid <- Below, lists:suffix("python", exe(Pid))],
        length(Below) =:= 4 andalso length(Pythons) =:= 2 andalso lists:all(fun ignores_term/1, Pythons) andalso Below
    end),
    Ms = stop(mux_deaf),
    ?assert(Ms >= 5000),
    ?assert(Ms < 7000),
    all_gone(Pids, 0).

%% A port program that is stopped does not see the end of its stdin.
stop_with_port_stopped(_) ->
    Mux = start([]),
    Port = port_pid(Mux),
    signal("STOP", Port),
    ?assert(stop(Mux) < 2000),
    all_gone([Port], 500).

%% Neither half of a guardian, nor both, keep a worker alive when they are stopped.
stop_with_guardian_stopped(_) ->
    Outer = fun(Guardian) -> [Guardian] end,
    Inner = fun(Guardian) -> [hd(descendants(Guardian))] end,
    Both = fun(Guardian) -> Outer(Guardian) ++ Inner(Guardian) end,
    [begin
        Mux = start([python()]),
        {ok, [#{guardian_pid := Guardian}]} = snakemux:workers(Mux),
        Pids = [Guardian | descendants(Guardian)],
        ?assert(length(Pids) >= 3),
        [signal("STOP", Pid) || Pid <- Stopped(Guardian)],
        ?assert(stop(Mux) < 7000),
        all_gone(Pids, 500)
     end || Stopped <- [Outer, Inner, Both]].

exe(Pid) ->
    case file:read_file("/proc/" ++ integer_to_list(Pid) ++ "/cmdline") of
        {ok, Line} -> binary_to_list(hd(binary:split(Line, <<0>>)));
        _ -> ""
    end.

ignores_term(Pid) ->
    {ok, Status} = file:read_file("/proc/" ++ integer_to_list(Pid) ++ "/status"),
    {match, [Mask]} = re:run(Status, "SigIgn:\t([0-9a-f]+)", [{capture, all_but_first, list}]),
    list_to_integer(Mask, 16) band (1 bsl 14) =/= 0.

%% ---- Output ----

prints_megabytes(_) ->
    Mux = start([python()]),
    {ok, [#{guardian_pid := _}]} = snakemux:workers(Mux),
    [{_, Sup, _, _}] = [C || {workers, _, _, _} = C <- supervisor:which_children(Mux)],
    [{_, Pid, _, _}] = supervisor:which_children(Sup),
    within(10000, fun() ->
        [{ok, _} = snakemux:execute(Mux, <<"shout">>, #{megabytes => 20, newlines => Lines}) || Lines <- [false, true]]
    end),
    {ok, _} = snakemux:execute(Mux, <<"whoami">>),
    eventually(fun() -> {message_queue_len, Length} = process_info(Pid, message_queue_len), Length =:= 0 end),
    garbage_collect(Pid),
    {memory, Memory} = process_info(Pid, memory),
    ?assert(Memory < 1000000),
    {ok, [#{restarts := 0}]} = snakemux:workers(Mux).

closes_output(_) ->
    Mux = start([python()]),
    Worker = pid_of(Mux, <<"py">>),
    {ok, null} = snakemux:execute(Mux, <<"close_output">>),
    {ok, #{<<"pid">> := Worker}} = snakemux:execute(Mux, <<"whoami">>),
    {ok, [#{restarts := 0}]} = snakemux:workers(Mux).

%% It has announced a call and dies before it writes it: nobody waits for that call when the instance stops.
caller_dies_before_it_writes(_) ->
    Mux = start([]),
    {ok, Table} = snakemux_table:find(Mux),
    Test = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        snakemux_table:add_call(snakemux_mux:ref(Mux), infinity, undefined),
        Test ! ready
    end),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    receive ready -> ok end,
    eventually(fun() -> not snakemux_table:has_calls(Table) end),
    ?assert(stop(Mux) < 1000).
