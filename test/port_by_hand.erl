%% Drives the port program by hand, as a user without our application would: open_port, terms, and the rules of
%% docs/PROTOCOL.md. Every event is checked as it comes: exactly one terminal event for each tag, and always its last.
-module(port_by_hand).

-export([open/0, open/1, open/2, close/1, pid/1, send/2, send_frame/2, await/3, take/2, strays/1, states/2]).
-export([connect/3, connect/4, call/4, call/5, stream/4, stream/5, terminal/3, collect/3, chunks/4, ping/1, stats/1]).
-export([start_worker/1, start_program/3, stop_worker/1, worker_pid/1, worker_target/1]).
-export([root/0, program/0, python/0, command/2, rss/1, peak/1, cpu_ms/1, until/2, fails/4, sanitized/0, patience/1]).
-export_type([port_program/0, worker/0]).

-type port_program() :: #{port := port(), pid := pos_integer()}.
-type worker() :: #{keeper := pid(), pid := pos_integer(), target := binary()}.

-define(START_TIMEOUT, 20000).

%%% The port program

-spec open() -> port_program().
open() ->
    open([]).

-spec open([string()]) -> port_program().
open(Args) ->
    open(program(), ["port" | Args]).

%% Another executable that ends as the port program: a shell with a limit of its own, say.
-spec open(file:filename(), [string()]) -> port_program().
open(Executable, Args) ->
    Port = open_port({spawn_executable, Executable}, [binary, exit_status, {packet, 4}, {args, Args}]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    P = #{port => Port, pid => Pid},
    put({ledger, Port}, #{}),
    put({stash, Port}, []),
    {hello, 1, #{limits := _}} = take(P, ?START_TIMEOUT),
    P.

%% Everything that was asked for with send/2 has been answered, and nothing was answered twice.
-spec close(port_program()) -> ok.
close(#{port := Port} = P) ->
    pong = ping(P),
    Open = [Tag || {Tag, open} <- maps:to_list(get({ledger, Port}))],
    [] =:= Open orelse error({no_terminal_event, Open}),
    port_close(Port),
    erase({ledger, Port}),
    erase({stash, Port}),
    ok.

-spec pid(port_program()) -> pos_integer().
pid(#{pid := Pid}) ->
    Pid.

%% One message, or a list of them.
-spec send(port_program(), tuple() | [tuple()]) -> ok.
send(P, Messages) when is_list(Messages) ->
    lists:foreach(fun(Message) -> note(P, Message) end, Messages),
    send_frame(P, term_to_binary(Messages));
send(P, Message) ->
    note(P, Message),
    send_frame(P, term_to_binary(Message)).

-spec send_frame(port_program(), iodata()) -> ok.
send_frame(#{port := Port}, Frame) ->
    true = port_command(Port, Frame),
    ok.

note(_P, {Name, _Tag}) when Name =:= cancel -> ok;
note(_P, {Name, _Tag, _N}) when Name =:= credit -> ok;
note(_P, {pin, _Session, _Worker, _Incarnation}) -> ok;
note(#{port := Port}, Message) ->
    Ledger = get({ledger, Port}),
    Tag = element(2, Message),
    %% A live tag that is used again: the first call goes on, and the second use is a protocol_error.
    put({ledger, Port}, Ledger#{Tag => open}).

%% The next event, in the order of their coming.
-spec take(port_program(), timeout()) -> tuple().
take(#{port := Port} = P, Timeout) ->
    case get({stash, Port}) of
        [Event | Rest] ->
            put({stash, Port}, Rest),
            Event;
        [] ->
            receive_event(P, Timeout)
    end.

receive_event(#{port := Port} = P, Timeout) ->
    receive
        {Port, {data, Frame}} ->
            [Event | More] = lists:flatten([binary_to_term(Frame)]),
            lists:foreach(fun(Each) -> check(P, Each) end, [Event | More]),
            put({stash, Port}, get({stash, Port}) ++ More),
            Event;
        {Port, {exit_status, Status}} ->
            error({port_program_ended, Status})
    after Timeout ->
        error({no_event_within, Timeout})
    end.

check(#{port := Port}, Event) ->
    Ledger = get({ledger, Port}),
    case class(Event) of
        none ->
            ok;
        {Class, Tag} ->
            case maps:find(Tag, Ledger) of
                {ok, open} -> Class =:= terminal andalso put({ledger, Port}, Ledger#{Tag => closed});
                {ok, closed} -> error({event_after_the_terminal_one, Event});
                error -> ok
            end
    end.

class({hello, _, _}) -> none;
class({worker, _, _, _}) -> none;
class({pinned, _, _, _}) -> none;
class({protocol_error, _}) -> none;
class({chunk, Tag, _}) -> {chunk, Tag};
class({ok, Tag, _, _}) -> {terminal, Tag};
class({done, Tag, _}) -> {terminal, Tag};
class({error, Tag, _}) -> {terminal, Tag}.

%% What has come and nobody has taken, but for the states of workers. They are gone then.
-spec strays(port_program()) -> [tuple()].
strays(#{port := Port}) ->
    Strays = [Event || Event <- get({stash, Port}), element(1, Event) =/= worker],
    put({stash, Port}, []),
    Strays.

%% What was said of a worker so far and nobody has taken, but for its start.
-spec states(port_program(), binary()) -> [{atom(), map()}].
states(#{port := Port}, Id) ->
    [{State, Info} || {worker, Who, State, #{reason := Reason} = Info} <- get({stash, Port}), Who =:= Id, Reason =/= new].

%% The first event, come or coming, that the fun takes; the others stay, in their order.
-spec await(port_program(), fun((tuple()) -> boolean()), timeout()) -> tuple().
await(#{port := Port} = P, Wanted, Timeout) ->
    Deadline = now_ms() + patience(Timeout),
    {Before, After} = lists:splitwith(fun(Event) -> not Wanted(Event) end, get({stash, Port})),
    case After of
        [Event | Rest] ->
            put({stash, Port}, Before ++ Rest),
            Event;
        [] ->
            put({stash, Port}, []),
            await(P, Wanted, Deadline, lists:reverse(Before))
    end.

await(#{port := Port} = P, Wanted, Deadline, Passed) ->
    Event =
        try
            take(P, max(0, Deadline - now_ms()))
        catch
            error:{no_event_within, _} -> error({not_within_its_time, lists:sublist(Passed, 20)})
        end,
    case Wanted(Event) of
        true ->
            put({stash, Port}, lists:reverse(Passed) ++ get({stash, Port})),
            Event;
        false ->
            await(P, Wanted, Deadline, [Event | Passed])
    end.

%%% What is sent most

-spec connect(port_program(), binary(), worker() | binary()) -> ok.
connect(P, Id, Worker) ->
    connect(P, Id, Worker, #{}).

%% Returns when the worker is ready.
-spec connect(port_program(), binary(), worker() | binary(), map()) -> ok.
connect(P, Id, #{target := Target}, Opts) ->
    connect(P, Id, Target, Opts);
connect(P, Id, Target, Opts) ->
    send(P, {connect, {connect, Id}, Id, Target, Opts}),
    {ok, _, #{}, #{}} = terminal(P, {connect, Id}, 1000),
    _ = await(P, fun(Event) -> is_worker(Event, Id, ready) end, 5000),
    ok.

is_worker({worker, Id, State, _}, Id, State) -> true;
is_worker(_, _, _) -> false.

-spec call(port_program(), term(), binary(), map()) -> reference().
call(P, To, Command, Args) ->
    call(P, To, Command, Args, #{}).

-spec call(port_program(), term(), binary(), map(), map()) -> reference().
call(P, To, Command, Args, Opts) ->
    Tag = make_ref(),
    send(P, {execute, Tag, to(To), Command, Args, Opts}),
    Tag.

-spec stream(port_program(), term(), binary(), map()) -> reference().
stream(P, To, Command, Args) ->
    stream(P, To, Command, Args, #{}).

-spec stream(port_program(), term(), binary(), map(), map()) -> reference().
stream(P, To, Command, Args, Opts) ->
    Tag = make_ref(),
    send(P, {execute_stream, Tag, to(To), Command, Args, Opts}),
    Tag.

to(Worker) when is_binary(Worker) -> {worker, Worker};
to(To) -> To.

-spec terminal(port_program(), term(), timeout()) -> tuple().
terminal(P, Tag, Timeout) ->
    await(P, fun(Event) -> class(Event) =:= {terminal, Tag} end, Timeout).

%% The chunks of a stream, and its terminal event.
-spec collect(port_program(), term(), timeout()) -> {[map()], tuple()}.
collect(#{port := Port} = P, Tag, Timeout) ->
    Terminal = terminal(P, Tag, Timeout),
    {Chunks, Rest} = lists:partition(fun(Event) -> class(Event) =:= {chunk, Tag} end, get({stash, Port})),
    put({stash, Port}, Rest),
    {[Chunk || {chunk, _, Chunk} <- Chunks], Terminal}.

%% The next N chunks.
-spec chunks(port_program(), term(), non_neg_integer(), timeout()) -> [map()].
chunks(P, Tag, N, Timeout) ->
    [element(3, await(P, fun(Event) -> class(Event) =:= {chunk, Tag} end, Timeout)) || _ <- lists:seq(1, N)].

%% Everything sent before has been read, and every event caused by it at once has come.
-spec ping(port_program()) -> pong.
ping(P) ->
    Tag = make_ref(),
    send(P, {ping, Tag}),
    {ok, Tag, pong, #{}} = terminal(P, Tag, 5000),
    pong.

-spec stats(port_program()) -> map().
stats(P) ->
    Tag = make_ref(),
    send(P, {stats, Tag}),
    {ok, Tag, Stats, #{}} = terminal(P, Tag, 5000),
    Stats.

%% A terminal event that is an error of these three.
-spec fails(tuple(), atom(), atom(), atom()) -> map().
fails({error, _, #{code := Code, origin := Origin, reason := Reason, message := Message} = Error}, Code, Origin, Reason) ->
    true = is_binary(unicode:characters_to_binary(Message)),
    true = byte_size(Message) > 0,
    Error;
fails(Event, Code, Origin, Reason) ->
    error({not_that_error, {Code, Origin, Reason}, Event}).

%%% Workers

%% test/support/bad_worker.py; it ends with stop_worker/1 or with its starter's node.
-spec start_worker([string()]) -> worker().
start_worker(Args) ->
    start_program(python(), [filename:join([root(), "test", "support", "bad_worker.py"]) | Args], []).

%% Any program that says GRPC_SERVER_READY_ON_PORT=N, or …_ADDRESS=A. Its process outlives the caller's.
-spec start_program(file:filename(), [string()], [{string(), string()}]) -> worker().
start_program(Executable, Args, Env) ->
    Starter = self(),
    {Keeper, Monitor} = spawn_monitor(fun() -> keep(Starter, Executable, Args, Env) end),
    receive
        {Keeper, Worker} ->
            demonitor(Monitor, [flush]),
            Worker;
        {'DOWN', Monitor, process, Keeper, Reason} ->
            error({worker_did_not_start, Reason})
    end.

keep(Starter, Executable, Args, Env) ->
    Port = open_port(
        {spawn_executable, Executable},
        [binary, exit_status, {line, 4096}, {args, Args}, {env, Env}]
    ),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    Target = wait_until_it_listens(Port),
    Starter ! {self(), #{keeper => self(), pid => Pid, target => Target}},
    keep(Port).

wait_until_it_listens(Port) ->
    receive
        {Port, {data, {eol, <<"GRPC_SERVER_READY_ON_PORT=", N/binary>>}}} -> <<"ipv4:127.0.0.1:", N/binary>>;
        {Port, {data, {eol, <<"GRPC_SERVER_READY_ON_ADDRESS=", Address/binary>>}}} -> Address;
        {Port, {data, _}} -> wait_until_it_listens(Port);
        {Port, {exit_status, Status}} -> exit({status, Status})
    after ?START_TIMEOUT ->
        exit(never_ready)
    end.

keep(Port) ->
    receive
        {stop, From} ->
            port_close(Port),
            From ! {stopped, self()};
        _ ->
            keep(Port)
    end.

-spec stop_worker(worker()) -> ok.
stop_worker(#{keeper := Keeper}) ->
    Keeper ! {stop, self()},
    receive
        {stopped, Keeper} -> ok
    end.

-spec worker_pid(worker()) -> pos_integer().
worker_pid(#{pid := Pid}) ->
    Pid.

-spec worker_target(worker()) -> binary().
worker_target(#{target := Target}) ->
    Target.

%%% The surroundings

%% Of the checkout; Common Test and rebar3 both run elsewhere.
-spec root() -> file:filename().
root() ->
    up(filename:dirname(filename:absname(code:which(?MODULE)))).

up(Dir) ->
    case filelib:is_regular(filename:join([Dir, "c_src", "protocol.h"])) of
        true ->
            Dir;
        false ->
            Parent = filename:dirname(Dir),
            Parent =/= Dir orelse error(not_in_a_checkout),
            up(Parent)
    end.

-spec program() -> file:filename().
program() ->
    os:getenv("SNAKEMUX_PROGRAM", filename:join([root(), "priv", "snakemux"])).

-spec python() -> file:filename().
python() ->
    os:getenv("SNAKEMUX_PYTHON", filename:join([root(), ".venv", "bin", "python"])).

%% Runs to the end; its output.
-spec command(file:filename(), [string()]) -> binary().
command(Executable, Args) ->
    Port = open_port({spawn_executable, Executable}, [binary, exit_status, stderr_to_stdout, {args, Args}]),
    command_output(Port, []).

command_output(Port, Output) ->
    receive
        {Port, {data, Data}} -> command_output(Port, [Output, Data]);
        {Port, {exit_status, 0}} -> iolist_to_binary(Output);
        {Port, {exit_status, Status}} -> error({status, Status, iolist_to_binary(Output)})
    end.

%% Bytes that a process has in memory.
-spec rss(pos_integer()) -> non_neg_integer().
rss(Pid) ->
    {ok, Statm} = file:read_file(io_lib:format("/proc/~b/statm", [Pid])),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    4096 * binary_to_integer(Pages).

%% The most that it ever was.
-spec peak(pos_integer()) -> non_neg_integer().
peak(Pid) ->
    {ok, Status} = file:read_file(io_lib:format("/proc/~b/status", [Pid])),
    {match, [Kib]} = re:run(Status, "VmHWM:\\s*([0-9]+)", [{capture, all_but_first, binary}]),
    1024 * binary_to_integer(Kib).

%% What it has computed so far, in its own time: how busy the machine is makes no difference.
-spec cpu_ms(pos_integer()) -> non_neg_integer().
cpu_ms(Pid) ->
    {ok, Stat} = file:read_file(io_lib:format("/proc/~b/stat", [Pid])),
    [_, Rest] = string:split(Stat, ") ", trailing),
    [User, System] = lists:sublist(string:lexemes(Rest, " "), 12, 2),
    10 * (binary_to_integer(User) + binary_to_integer(System)).

%% A program with sanitizers keeps freed memory, and takes its time: figures say nothing then.
-spec sanitized() -> boolean().
sanitized() ->
    os:getenv("ASAN_OPTIONS") =/= false orelse os:getenv("TSAN_OPTIONS") =/= false.

%% How long to wait for what should take so many milliseconds at most.
-spec patience(non_neg_integer()) -> non_neg_integer().
patience(Ms) -> Ms * case sanitized() of true -> 5; false -> 1 end.

%% Polls until the fun says true.
-spec until(fun(() -> boolean()), timeout()) -> ok.
until(Condition, Timeout) ->
    poll(Condition, now_ms() + Timeout).

poll(Condition, Deadline) ->
    case Condition() of
        true ->
            ok;
        false ->
            now_ms() < Deadline orelse error(never_true),
            timer:sleep(10),
            poll(Condition, Deadline)
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
