%% The soak: an instance with real Python workers, dozens of callers, and a process that kills and stops at random, for
%% so many minutes. Every call is checked (soak_caller); in the end nothing may be left: no call, no row, no process,
%% no socket; and memory and file descriptors must not have grown. `make soak MINUTES=n'.
%%
%% In the first half port programs are killed and stopped as well. In the second they are not, so that one lives for
%% long enough to see whether it grows.
-module(soak).

-export([main/0]).

-define(NAME, soak).
-define(WORKERS, 4).
-define(CALLERS, 40).
-define(PROGRESS, 10000).
%% The longest timeout, the watchdog, and the callers' wait for an event too many.
-define(LAST_CALLS, 25000).
%% A worker that is stuck when the instance stops is killed after five seconds.
-define(STOP, 16000).
%% How much larger the last third of a series may be than the first: in bytes, and in per cent.
-define(GROWTH, {8 bsl 20, 20}).
%% So many samples, one for each second, make a series; a fifth of them is warm-up.
-define(SERIES, 15).
%% What every process that we start, or that those start, has in its environment.
-define(MARK, "SNAKEMUX_SOAK").

-spec main() -> no_return().
main() ->
    %% A process of its own: whatever it is linked to may take it down, and the BEAM ends nevertheless.
    [Minutes, Dir] = init:get_plain_arguments(),
    soak_book:new(),
    {Pid, Monitor} = spawn_monitor(fun() -> run(round(number(Minutes) * 60000), Dir) end),
    receive
        {'DOWN', Monitor, process, Pid, normal} -> halt(case soak_book:violations() of 0 -> 0; _ -> 1 end);
        {'DOWN', Monitor, process, Pid, Reason} -> io:format("soak: ~p~n", [Reason]), halt(2)
    end.

number(Text) ->
    case string:to_float(Text) of
        {error, _} -> list_to_integer(Text);
        {Number, ""} -> Number
    end.

run(Ms, Dir) ->
    log_to(filename:join(Dir, "soak.log")),
    os:putenv(?MARK, os:getpid()),
    Start = soak_caller:now_ms(),
    {ok, Sup} = snakemux:start_link(#{name => ?NAME, workers => [worker()]}),
    unlink(Sup),
    ok = snakemux:await_ready(?NAME, #{timeout => 60000}),
    io:format("~b callers, ~b workers with 2 threads, ~b s; log: ~ts~n", [?CALLERS, ?WORKERS, Ms div 1000, Dir]),
    Callers = maps:from_list([{Monitor, {Pid, N}} || N <- lists:seq(1, ?CALLERS), {Pid, Monitor} <- [soak_caller:start(?NAME, N)]]),
    Chaos = soak_chaos:start(?NAME, Start + Ms div 2),
    self() ! sample,
    self() ! {progress, -1},
    erlang:send_after(Ms, self(), stop),
    {Left, Samples} = soak(Callers, [], Start),
    Chaos ! stop,
    finish(Left),
    nothing_left(),
    series(lists:reverse(Samples)),
    print(soak_caller:now_ms() - Start).

worker() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    {python, #{
        module => "soak_worker", path => filename:dirname(Source), count => ?WORKERS, threads => 2, stuck_grace => 1000,
        health_interval => 1000, unresponsive_after => 2000
    }}.

%% What the instance says goes to a file: it has a lot to say.
log_to(File) ->
    _ = file:delete(File),
    ok = logger:remove_handler(default),
    ok = logger:add_handler(file, logger_std_h, #{config => #{file => File, max_no_bytes => 50000000, max_no_files => 2}}),
    ok = logger:set_primary_config(level, info).

%% ---- While it lasts ----

soak(Callers, Samples, Start) ->
    receive
        stop ->
            {Callers, Samples};
        sample ->
            erlang:send_after(1000, self(), sample),
            soak(Callers, [sample() | Samples], Start);
        {progress, Before} ->
            progress(soak_caller:now_ms() - Start),
            Good = soak_book:total({ended, '_', ok, none}),
            %% Else a run in which nothing works would find no fault.
            Good > Before orelse soak_book:violation("no call has succeeded for ~b ms", [?PROGRESS]),
            erlang:send_after(?PROGRESS, self(), {progress, Good}),
            soak(Callers, Samples, Start);
        {'DOWN', Monitor, process, _, Reason} ->
            {{_, N}, Rest} = maps:take(Monitor, Callers),
            Reason =:= killed orelse soak_book:violation("a caller ended: ~0P", [Reason, 30]),
            {Pid, Next} = soak_caller:start(?NAME, N),
            soak(Rest#{Next => {Pid, N}}, Samples, Start)
    end.

progress(Ms) ->
    {Pid, Memory, Fds} = port_sample(),
    io:format("~5b s  ~b calls, ~b chunks, ~b accidents, ~b violations; port program ~p: ~b MiB, ~b fds; BEAM ~b MiB~n",
              [Ms div 1000, soak_book:total({ended, '_', '_', '_'}), soak_book:total({chunks}), soak_book:total({chaos, '_'}),
               soak_book:violations(), Pid, Memory bsr 20, Fds, erlang:memory(total) bsr 20]).

sample() ->
    {port_sample(), #{
        memory => erlang:memory(total), processes => erlang:system_info(process_count), ports => length(erlang:ports()),
        atoms => erlang:system_info(atom_count)
    }}.

port_sample() ->
    case soak_chaos:port_pid(?NAME) of
        none -> {none, 0, 0};
        Pid ->
            Proc = "/proc/" ++ integer_to_list(Pid),
            case {file:read_file(Proc ++ "/statm"), file:list_dir(Proc ++ "/fd")} of
                {{ok, Text}, {ok, Fds}} ->
                    [_, Pages | _] = string:lexemes(binary_to_list(Text), " "),
                    {Pid, list_to_integer(Pages) * 4096, length(Fds)};
                _ -> {none, 0, 0}
            end
    end.

%% ---- In the end ----

finish(Callers) ->
    [soak_caller:finish(Pid) || {Pid, _} <- maps:values(Callers)],
    Until = soak_caller:now_ms() + ?LAST_CALLS,
    maps:foreach(
        fun(Monitor, {Pid, _}) ->
            receive
                {'DOWN', Monitor, process, Pid, Reason} ->
                    lists:member(Reason, [normal, killed]) orelse soak_book:violation("a caller ended: ~0P", [Reason, 30])
            after max(0, Until - soak_caller:now_ms()) ->
                soak_book:violation("a caller still waits: ~0p", [process_info(Pid, [current_function, message_queue_len])])
            end
        end,
        Callers
    ).

nothing_left() ->
    {ok, Table} = snakemux_table:find(?NAME),
    eventually("calls", 5000, fun() ->
        {ok, Calls} = snakemux:calls(?NAME),
        Calls
    end),
    eventually("calls on connections", 5000, fun() ->
        {ok, #{workers := Workers}} = snakemux:stats(?NAME),
        [Busy || {_, #{in_flight := Running, queued := Queued}} = Busy <- maps:to_list(Workers), Running + Queued > 0]
    end),
    eventually("rows of calls", 1000, fun() -> snakemux_table:calls(Table, all) end),
    eventually("rows of callers", 1000, fun() -> [Pid || Pid <- snakemux_table:callers(Table), not is_process_alive(Pid)] end),
    {ok, #{held_bytes := Held}} = snakemux:stats(?NAME),
    Held =:= 0 orelse soak_book:violation("the port program holds ~b bytes of messages", [Held]),
    Took = mux_tools:stop(?NAME),
    Took =< ?STOP orelse soak_book:violation("it took ~b ms to stop", [Took]),
    eventually("processes", 2000, fun marked/0),
    eventually("socket directories", 0, fun() ->
        [Dir || Base <- ["/tmp" | [D || D <- [os:getenv("XDG_RUNTIME_DIR")], D =/= false]],
                Dir <- filelib:wildcard(filename:join(Base, "snakemux-*-" ++ os:getpid() ++ "-*"))]
    end),
    eventually("ports", 0, fun() ->
        [Port || Port <- erlang:ports(), {name, Name} <- [erlang:port_info(Port, name)], string:find(Name, "snakemux") =/= nomatch]
    end).

eventually(What, Ms, Fun) ->
    case Fun() of
        [] -> ok;
        Left when Ms =< 0 -> soak_book:violation("~ts left: ~0P", [What, Left, 50]);
        _ -> timer:sleep(50), eventually(What, Ms - 50, Fun)
    end.

%% Processes with our mark that are no zombies; those that list them have it, too, and are gone the next time.
marked() ->
    {ok, Names} = file:list_dir("/proc"),
    Mark = iolist_to_binary([?MARK, $=, os:getpid(), 0]),
    [
        Name
     || Name <- Names,
        {ok, Environment} <- [file:read_file(filename:join(["/proc", Name, "environ"]))],
        binary:match(<<Environment/binary, 0>>, Mark) =/= nomatch,
        mux_tools:is_alive(list_to_integer(Name))
    ].

%% ---- What grew ----

series(Samples) ->
    lists:foreach(fun series_of_port/1, lives([Port || {Port, _} <- Samples])),
    [flat("BEAM " ++ atom_to_list(Key), [maps:get(Key, Beam) || {_, Beam} <- Samples], Growth)
     || {Key, Growth} <- [{memory, ?GROWTH}, {processes, {5, 0}}, {ports, {5, 0}}, {atoms, {200, 0}}]].

%% The samples of each port program, of those that lived for long enough.
lives([]) -> [];
lives([{Pid, _, _} | _] = Samples) ->
    {Life, Rest} = lists:splitwith(fun({P, _, _}) -> P =:= Pid end, Samples),
    [Life || Pid =/= none, length(Life) >= ?SERIES] ++ lives(Rest).

series_of_port([{Pid, _, _} | _] = Life) ->
    Title = io_lib:format("port program ~b ", [Pid]),
    flat([Title, "memory"], [Memory || {_, Memory, _} <- Life], ?GROWTH),
    flat([Title, "fds"], [Fds || {_, _, Fds} <- Life], {4, 0}).

%% The median of the last third is not much above that of the first.
flat(Title, All, {Bytes, PerCent}) ->
    Series = lists:nthtail(length(All) div 5, All),
    Third = max(1, length(Series) div 3),
    First = median(lists:sublist(Series, Third)),
    Last = median(lists:nthtail(length(Series) - Third, Series)),
    io:format("~ts over ~b s: ~ts; thirds ~ts and ~ts~n",
              [Title, length(All), lists:join(" ", [unit(V) || V <- thinned(All)]), unit(First), unit(Last)]),
    Last =< First + Bytes + First * PerCent div 100 orelse
        soak_book:violation("~ts grew from ~ts to ~ts", [Title, unit(First), unit(Last)]).

median(Values) -> lists:nth((length(Values) + 1) div 2, lists:sort(Values)).

thinned(Values) -> [lists:nth(1 + N * (length(Values) - 1) div 11, Values) || N <- lists:seq(0, 11)].

unit(Value) when Value >= 1 bsl 20 -> io_lib:format("~.1fM", [Value / (1 bsl 20)]);
unit(Value) -> integer_to_list(Value).

%% ---- The table ----

print(Ms) ->
    io:format("~n~-10s~9s~9s~9s~9s~9s  ended otherwise~n", ["", "started", "ok", "killed", "p50 ms", "p99 ms"]),
    Commands = lists:usort([Command || {{started, Command}, _} <- soak_book:rows({started, '_'})]),
    lists:foreach(fun row/1, Commands),
    Accidents = [io_lib:format("~ts ~b", [Kind, N]) || {{chaos, Kind}, N} <- soak_book:rows({chaos, '_'})],
    io:format("~nall calls: ~b ms p50, ~b ms p99; ~b chunks~naccidents: ~ts~n",
              [soak_book:percentile('_', 0.5), soak_book:percentile('_', 0.99), soak_book:total({chunks}), lists:join(", ", Accidents)]),
    io:format("longest without an answer behind a deadline or cancel: ~b ms; ~b ms with the port program stopped meanwhile~n"
              "longest abandon: ~b ms; longest until a port program was replaced: ~b ms~n",
              [soak_book:longest(W) || W <- [late, late_stopped, abandon, replaced]]),
    Verdict = case soak_book:violations() of 0 -> "no violation"; N -> io_lib:format("~b VIOLATIONS", [N]) end,
    io:format("~b s: ~ts~n", [Ms div 1000, Verdict]).

%% `killed': those whose caller was killed before their end.
row(Command) ->
    Started = soak_book:total({started, Command}),
    Ended = soak_book:total({ended, Command, '_', '_'}),
    Ok = soak_book:total({ended, Command, ok, none}),
    Others = [[atom_to_list(Code), [[$/, atom_to_list(Reason)] || Reason =/= none], $\s, integer_to_list(N)]
              || {{ended, _, Code, Reason}, N} <- soak_book:rows({ended, Command, '_', '_'}), Code =/= ok],
    io:format("~-10s~9b~9b~9b~9b~9b  ~ts~n",
              [Command, Started, Ok, Started - Ended, soak_book:percentile(Command, 0.5), soak_book:percentile(Command, 0.99),
               lists:join(", ", Others)]).
