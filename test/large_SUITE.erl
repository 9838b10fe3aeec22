%% Large arguments and replies: they travel in parts, so that they hold up nobody, and nothing of them is left when their caller is.
-module(large_SUITE).
-include_lib("stdlib/include/assert.hrl").
-compile(export_all).

-import(mux_tools, [python/0, python/1, start/1, start/2, stop/1, exec/3, eventually/1, eventually/2, within/2, port_pid/1, signal/2, silence/0]).

-define(MIB, 1048576).

suite() -> [{timetrap, {minutes, 1}}].

all() -> [whole, raw, small_calls_beside, small_calls_beside_replies, control_beside, callers_killed, too_large, port_killed, sender_killed].

end_per_testcase(_, _) ->
    [stop(Name) || Name <- registered(), lists:prefix("mux_", atom_to_list(Name))],
    ok.

blob(Size) -> {bin, binary:copy(<<"x">>, Size)}.

%% Callers that send arguments of 48 MiB without a pause.
senders(Mux, Count) ->
    Blob = blob(48 * ?MIB),
    Send = fun Send() -> 48 * ?MIB = exec(Mux, <<"size">>, #{data => Blob}), Send() end,
    [spawn_link(Send) || _ <- lists:seq(1, Count)].

kill(Pids) -> lists:foreach(fun(Pid) -> unlink(Pid), exit(Pid, kill) end, Pids).

%% Of one binary, of many, and of values that are small each.
whole(_) ->
    Mux = start([python()]),
    Values = [
        binary:copy(<<"one">>, 3 * ?MIB), [binary:copy(<<N>>, 100000 + N) || N <- lists:seq(97, 122)], lists:seq(1, 300000)
    ],
    Give = fun(Value) -> snakemux:execute_async(Mux, <<"give_back">>, #{v => Value}) end,
    Refs = [Give(Value) || Value <- Values],
    [?assert(snakemux:next(Ref, 20000) =:= {ok, #{<<"v">> => Value}}) || {Value, Ref} <- lists:zip(Values, Refs)],
    Test = self(),
    [spawn_link(fun() -> Test ! {N, exec(Mux, <<"give_back">>, #{v => V, n => N})} end) || {N, V} <- lists:enumerate(Values ++ Values)],
    [receive {N, Result} -> ?assert(Result =:= #{<<"v">> => V, <<"n">> => N}) end || {N, V} <- lists:enumerate(Values ++ Values)],
    {done, _} = read(snakemux:execute_stream(Mux, <<"numbers">>, #{name => binary:copy(<<"x">>, ?MIB), count => 3})),
    silence().

read(Ref) -> case snakemux:next(Ref, 10000) of {chunk, _} -> read(Ref); End -> End end.

%% As they are, at once and behind one that runs, compressed too, and beside small ones.
raw(_) ->
    Mux = start([python(#{max_concurrent => 1})]),
    Args = #{<<"large">> => binary:copy(<<"one">>, ?MIB), <<"small">> => <<"1">>, <<"other">> => binary:copy(<<"two">>, 500000)},
    Give = fun(Options) -> snakemux:execute_async(Mux, <<"give_back">>, Args, Options#{codec => raw}) end,
    Refs = [Give(Options) || Options <- [#{}, #{compression => gzip}, #{session => <<"s">>}, #{}]],
    [?assert(snakemux:next(Ref, 20000) =:= {ok, Args}) || Ref <- Refs],
    silence().

small_calls_beside(_) ->
    Mux = start([python()]),
    Senders = senders(Mux, 3),
    [within(2000, fun() -> exec(Mux, <<"give_back">>, #{n => N}) end) || N <- lists:seq(1, 200)],
    kill(Senders),
    eventually(fun() -> snakemux:calls(Mux) =:= {ok, []} end).

%% Less of the large ones is in the pipe of stdout then.
small_calls_beside_replies(_) ->
    Mux = start([python()]),
    Ask = fun(Args) -> spawn_link(fun Call() -> Args = exec(Mux, <<"give_back">>, Args), Call() end) end,
    Large = Ask(#{<<"v">> => binary:copy(<<"x">>, 16 * ?MIB)}),
    Small = Ask(#{<<"n">> => 1}),
    pipe_gets(131072, Mux),
    kill([Small]),
    pipe_gets(262144, Mux),
    Others = Ask(#{<<"n">> => 2}),
    pipe_gets(131072, Mux),
    kill([Large]),
    pipe_gets(262144, Mux),
    kill([Others]).

%% Of where the program has moved its stdout. It is looked at all the time: it is narrow only while there is something large in it.
pipe_gets(Size, Mux) ->
    {python, #{python := Python}} = python(),
    Script = [
        "import fcntl, os, sys, time\n",
        "pipe, wanted, end = os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK), int(sys.argv[2]), time.monotonic() + 20\n",
        "while (size := fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)) != wanted and time.monotonic() < end: time.sleep(0.001)\n",
        "print(size)"
    ],
    Command = io_lib:format("~ts -c '~ts' /proc/~b/fd/3 ~b", [Python, Script, port_pid(Mux), Size]),
    ?assertEqual(Size, list_to_integer(string:trim(os:cmd(lists:flatten(Command))))).

%% What the mux writes itself finds its turn as well: the cancel for a caller that died, and what the port program is
%% asked when it is silent.
control_beside(_) ->
    Mux = start([python()]),
    Port = port_pid(Mux),
    Senders = senders(Mux, 4),
    [
        begin
            Dying = spawn(fun() -> exec(Mux, <<"block">>, #{name => N}) end),
            eventually(fun() -> exec(Mux, <<"begun">>, #{name => N}) =:= 1 end),
            exit(Dying, kill),
            within(2000, fun() -> eventually(fun() -> exec(Mux, <<"ended">>, #{name => N}) =:= 1 end) end)
        end
     || N <- lists:seq(1, 5)
    ],
    kill(Senders),
    ?assertEqual(Port, port_pid(Mux)).

%% Nothing is kept of what they had sent: it would fill the room there is, four times over.
callers_killed(_) ->
    Mux = start([python()], #{max_message => 2 * ?MIB, max_frame => 4 * ?MIB}),
    Port = port_pid(Mux),
    Blob = blob(2 * ?MIB - 1000),
    lists:foreach(
        fun(_) ->
            signal("STOP", Port),
            Dying = [spawn(fun() -> exec(Mux, <<"size">>, #{data => Blob}) end) || _ <- lists:seq(1, 8)],
            eventually(fun() -> length(snakemux_table:calls(table(Mux), all)) =:= 8 end),
            kill(Dying),
            signal("CONT", Port),
            eventually(fun() -> snakemux:calls(Mux) =:= {ok, []} end)
        end,
        lists:seq(1, 4)
    ),
    Test = self(),
    [spawn_link(fun() -> Test ! {size, exec(Mux, <<"size">>, #{data => Blob})} end) || _ <- lists:seq(1, 8)],
    [receive {size, Size} -> ?assertEqual(2 * ?MIB - 1000, Size) end || _ <- lists:seq(1, 8)],
    ?assertEqual(Port, port_pid(Mux)),
    silence().

table(Mux) -> {ok, Table} = snakemux_table:find(Mux), Table.

%% Each is told once, also of what is larger than all there is room for; smaller ones go on.
too_large(_) ->
    Mux = start([python()], #{max_message => ?MIB, max_frame => 2 * ?MIB}),
    [
        begin
            Refs = [snakemux:execute_async(Mux, <<"size">>, #{data => blob(Mib * ?MIB)}) || _ <- lists:seq(1, 3)],
            [
                ?assertMatch(
                    {error, #{code := resource_exhausted, reason := too_large, origin := mux, sent := false}}, snakemux:next(Ref, 5000)
                )
             || Ref <- Refs
            ],
            ?assertEqual(500000, exec(Mux, <<"size">>, #{data => blob(500000)}))
        end
     || Mib <- [3, 10, 60]
    ],
    silence().

%% Those that have sent a part of theirs hear of it like all others, and the next port program takes new ones.
port_killed(_) ->
    Mux = start([python()]),
    Test = self(),
    Port = port_pid(Mux),
    signal("STOP", Port),
    [spawn_link(fun() -> Test ! {answer, snakemux:execute(Mux, <<"size">>, #{data => blob(4 * ?MIB)})} end) || _ <- lists:seq(1, 4)],
    eventually(fun() -> length(snakemux_table:calls(table(Mux), all)) =:= 4 end),
    signal("KILL", Port),
    within(2000, fun() ->
        [receive {answer, Answer} -> ?assertMatch({error, #{reason := port_down}}, Answer) end || _ <- lists:seq(1, 4)]
    end),
    ok = snakemux:await_ready(Mux, #{timeout => 15000}),
    ?assertEqual(4 * ?MIB, exec(Mux, <<"size">>, #{data => blob(4 * ?MIB)})),
    silence().

%% The process that writes them: the mux goes with it, and both are there again.
sender_killed(_) ->
    Mux = start([python()]),
    {ok, Sender} = snakemux_table:process(table(Mux), sender),
    exit(Sender, kill),
    Blob = blob(4 * ?MIB),
    eventually(fun() -> snakemux:execute(Mux, <<"size">>, #{data => Blob}) =:= {ok, 4 * ?MIB} end),
    {ok, Next} = snakemux_table:process(table(Mux), sender),
    ?assertNotEqual(Sender, Next).
