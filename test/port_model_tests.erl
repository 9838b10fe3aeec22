%% A model of the port protocol, and random sequences of messages that must do what it says. The model knows which
%% workers are connected and which calls are live, with the chunks and the credit of each, where each session is pinned,
%% and of which tags parts have come: `open' are bytes that are no command, so that nothing good can come of them,
%% `refused' what is swallowed. From these follows every event.
-module(port_model_tests).
-behaviour(proper_statem).

-include_lib("proper/include/proper.hrl").
-include_lib("eunit/include/eunit.hrl").

-export([initial_state/0, command/1, precondition/2, next_state/3, postcondition/3]).
-export([
    connect/2, disconnect/1, echo/2, fails/2, hangs/2, stream/4, credit/2, cancel/1, ping/1, nonsense/1, many/2, hasty/4, part/1, parted/3,
    session/4, end_session/1, pin/3
]).

-define(LIMIT, 3000).

-type id() :: binary().
-record(stream, {worker :: id(), total :: pos_integer() | infinity, sent = 0 :: non_neg_integer()}).
-record(unary, {worker :: id()}).
-record(model, {
    workers = #{} :: #{id() => Incarnation :: binary()},
    live = #{} :: #{term() => #stream{} | #unary{}},
    parts = #{} :: #{term() => open | refused},
    pins = #{} :: #{Session :: binary() => {id(), Incarnation :: binary()}}
}).

protocol_test_() ->
    {setup, fun() -> port_by_hand:start_worker([]) end, fun port_by_hand:stop_worker/1, fun(Worker) ->
        {timeout, 120, fun() -> ?assert(proper:quickcheck(prop_protocol(Worker), [{numtests, 60}, {to_file, user}])) end}
    end}.

prop_protocol(Worker) ->
    ?FORALL(
        Commands,
        more_commands(8, commands(?MODULE)),
        begin
            P = port_by_hand:open(),
            port_by_hand:send(P, {options, pins, #{pins => true}}),
            {ok, pins, _, _} = port_by_hand:terminal(P, pins, ?LIMIT),
            put(session, {P, Worker}),
            put(model, initial_state()),
            {History, Last, Result} = run_commands(?MODULE, Commands),
            ?WHENFAIL(
                io:format("~p~n~p~n~p~n", [lists:sublist(lists:reverse(History), 3), Last, Result]),
                aggregate(command_names(Commands), Result =:= ok andalso ends_well(P, Last))
            )
        end
    ).

%% What still lives can be cancelled, and then nothing is left.
ends_well(P, #model{live = Live, parts = Parts}) ->
    ok = lists:foreach(fun cancel/1, maps:keys(maps:merge(Live, Parts))),
    #{calls := 0} = port_by_hand:stats(P),
    ok =:= port_by_hand:close(P).

%%% Generators

tag() ->
    oneof([1, 1.0, {a, <<"tag">>}, [tag], <<0:900/unit:8>>]).

id() ->
    oneof([<<"one">>, <<"two">>]).

incarnation() ->
    oneof([<<"first">>, <<"second">>]).

session() ->
    oneof([<<"x">>, <<"y">>]).

command(Model) ->
    frequency([
        {case map_size(Model#model.workers) of 2 -> 1; _ -> 10 end, {call, ?MODULE, connect, [id(), incarnation()]}},
        {1, {call, ?MODULE, disconnect, [id()]}},
        {4, {call, ?MODULE, echo, [tag(), id()]}},
        {2, {call, ?MODULE, fails, [tag(), id()]}},
        {3, {call, ?MODULE, hangs, [tag(), id()]}},
        {6, {call, ?MODULE, stream, [tag(), id(), oneof([infinity, range(1, 40)]), range(1, 30)]}},
        {6, {call, ?MODULE, credit, [tag(), range(1, 20)]}},
        {4, {call, ?MODULE, cancel, [tag()]}},
        {1, {call, ?MODULE, ping, [tag()]}},
        {1, {call, ?MODULE, nonsense, [oneof([{teleport}, {ping}, hello, {cancel}, {credit, 1}])]}},
        {1, {call, ?MODULE, many, [range(1, 100), id()]}},
        {3, {call, ?MODULE, hasty, [tag(), id(), range(1, 40), range(1, 30)]}},
        {3, {call, ?MODULE, part, [tag()]}},
        {4, {call, ?MODULE, parted, [tag(), id(), range(1, 60)]}},
        {8, {call, ?MODULE, session, [tag(), session(), oneof([any, id()]), oneof([<<"echo">>, <<"silent">>])]}},
        {1, {call, ?MODULE, end_session, [session()]}},
        {2, {call, ?MODULE, pin, [session(), id(), incarnation()]}}
    ]).

initial_state() ->
    #model{}.

precondition(_Model, _Call) ->
    true.

next_state(Model, _Result, {call, ?MODULE, Name, Args}) ->
    {_Messages, _Events, Next} = step(Model, list_to_tuple([Name | Args])),
    Next.

postcondition(_Model, _Call, Result) ->
    Result =:= ok.

%%% What is really done

connect(Id, Incarnation) -> run({connect, Id, Incarnation}).
disconnect(Id) -> run({disconnect, Id}).
echo(Tag, Id) -> run({echo, Tag, Id}).
fails(Tag, Id) -> run({fails, Tag, Id}).
hangs(Tag, Id) -> run({hangs, Tag, Id}).
stream(Tag, Id, Total, Credit) -> run({stream, Tag, Id, Total, Credit}).
credit(Tag, N) -> run({credit, Tag, N}).
cancel(Tag) -> run({cancel, Tag}).
ping(Tag) -> run({ping, Tag}).
nonsense(Message) -> run({nonsense, Message}).
many(N, Id) -> run({many, N, Id}).
hasty(Tag, Id, Total, Credit) -> run({hasty, Tag, Id, Total, Credit}).
part(Tag) -> run({part, Tag}).
parted(Tag, Id, Size) -> run({parted, Tag, Id, Size}).
session(Tag, Session, On, Command) -> run({session, Tag, Session, On, Command}).
end_session(Session) -> run({end_session, Session}).
pin(Session, Id, Incarnation) -> run({pin, Session, Id, Incarnation}).

%% Sends the messages, sees the events come, each in its time, and no other one.
run(Step) ->
    {P, Worker} = get(session),
    Model = get(model),
    {Messages, Events, Next} = step(Model, Step),
    put(model, Next),
    Targets = [target(Message, Worker) || Message <- Messages],
    case [Message || Message <- Targets, not is_live_again(Message, Events), not is_swallowed(Message, Model)] of
        [] -> [port_by_hand:send_frame(P, term_to_binary(Message)) || Message <- Targets];
        [One] -> port_by_hand:send(P, One);
        List -> port_by_hand:send(P, List)
    end,
    lists:foreach(fun(Event) -> see(P, Event) end, Events),
    pong = port_by_hand:ping(P),
    [] = port_by_hand:strays(P),
    ok.

target({connect, Tag, Id, target, Opts}, Worker) -> {connect, Tag, Id, port_by_hand:worker_target(Worker), Opts};
target(Message, _Worker) -> Message.

%% Messages that open no tag of their own must not be noted as such.
is_live_again(_Message, Events) ->
    lists:keymember(protocol_error, 1, Events).

is_swallowed(Message, #model{parts = Parts}) ->
    lists:member(element(1, Message), [part, last]) andalso maps:get(element(2, Message), Parts, none) =:= refused.

see(P, {ready, Id}) ->
    Ready = fun(Event) -> element(1, Event) =:= worker andalso element(2, Event) =:= Id andalso element(3, Event) =:= ready end,
    port_by_hand:await(P, Ready, ?LIMIT);
see(P, {pinned, _, _, _} = Pinned) ->
    port_by_hand:await(P, fun(Event) -> Event =:= Pinned end, ?LIMIT);
see(P, {chunks, Tag, Numbers}) ->
    Chunks = port_by_hand:chunks(P, Tag, length(Numbers), ?LIMIT),
    Numbers = [binary_to_integer(N) || #{<<"n">> := N} <- Chunks];
see(P, {ok, Tag, Result}) ->
    {ok, Tag, Result, _} = port_by_hand:terminal(P, Tag, ?LIMIT);
see(P, {done, Tag, Chunks}) ->
    {done, Tag, #{chunks := Chunks}} = port_by_hand:terminal(P, Tag, ?LIMIT);
see(P, {error, Tag, Wanted}) ->
    {error, Tag, Error} = port_by_hand:terminal(P, Tag, ?LIMIT),
    Wanted = maps:with(maps:keys(Wanted), Error);
see(P, {protocol_error, Reason}) ->
    Wrong = fun(Event) -> element(1, Event) =:= protocol_error end,
    {protocol_error, #{reason := Reason}} = port_by_hand:await(P, Wrong, ?LIMIT);
see(P, {race, Tag, Total, Credit}) ->
    {Chunks, Terminal} = port_by_hand:collect(P, Tag, ?LIMIT),
    Count = length(Chunks),
    true = Count =< Credit,
    ?assertEqual(lists:seq(0, Count - 1), [binary_to_integer(N) || #{<<"n">> := N} <- Chunks]),
    case Terminal of
        {done, Tag, #{chunks := Count}} -> Total = Count;
        {error, Tag, #{code := cancelled, delivered := Count}} -> ok
    end.

%%% The model: what is sent, which events follow, what is true then

step(Model, Step) ->
    case lists:member(element(1, Step), [echo, fails, hangs, stream, cancel, ping, hasty, part, parted, session]) of
        true -> tagged_step(element(1, Step), element(2, Step), Model, Step);
        false -> plain_step(Model, Step)
    end.

%% A tag with parts to come is in use. Where they are refused it is free, and the rest is not to come.
tagged_step(Name, Tag, #model{parts = Parts, live = Live} = Model, Step) ->
    case Parts of
        #{Tag := State} when Name =:= part; Name =:= parted ->
            parts(State, Model, Step);
        #{Tag := open} when Name =:= cancel; Name =:= hasty ->
            {[{cancel, Tag}], [{error, Tag, #{code => cancelled, sent => false}}], Model#model{parts = maps:remove(Tag, Parts)}};
        #{Tag := open} ->
            {Messages, _, _} = plain_step(Model, Step),
            {Messages, [{protocol_error, duplicate_tag}], Model};
        #{} when Name =:= part; Name =:= parted ->
            parts(case Live of #{Tag := _} -> live; #{} -> none end, Model, Step);
        #{} ->
            plain_step(Model#model{parts = maps:remove(Tag, Parts)}, Step)
    end.

%% One part that is none of a command; or an echo, all of it.
parts(State, #model{parts = Parts} = Model, {part, Tag}) ->
    {Events, Next} = case State of
        live -> {[{protocol_error, duplicate_tag}], refused};
        none -> {[], open};
        _ -> {[], State}
    end,
    {[{part, Tag, <<"?">>}], Events, Model#model{parts = Parts#{Tag => Next}}};
parts(State, #model{parts = Parts} = Model, {parted, Tag, Id, Size}) ->
    {[Message], Events, _} = plain_step(Model, {echo, Tag, Id}),
    Follows = case State of
        live -> [{protocol_error, duplicate_tag}];
        none -> Events;
        open -> [{error, Tag, #{code => invalid_argument, reason => bad_version, sent => false}}];
        refused -> []
    end,
    {cut(Tag, term_to_binary(Message), Size), Follows, Model#model{parts = maps:remove(Tag, Parts)}}.

cut(Tag, Bytes, Size) when byte_size(Bytes) =< Size -> [{last, Tag, Bytes}];
cut(Tag, Bytes, Size) ->
    <<Part:Size/binary, Rest/binary>> = Bytes,
    [{part, Tag, Part} | cut(Tag, Rest, Size)].

plain_step(#model{workers = Workers} = Model, {connect, Id, Incarnation}) ->
    Connect = {connect, {connect, Id}, Id, target, #{incarnation => Incarnation}},
    case Workers of
        #{Id := _} -> {[Connect], [{error, {connect, Id}, #{code => already_exists}}], Model};
        #{} -> {[Connect], [{ok, {connect, Id}, #{}}, {ready, Id}], Model#model{workers = Workers#{Id => Incarnation}}}
    end;
plain_step(#model{workers = Workers, live = Live} = Model, {disconnect, Id}) ->
    Disconnect = {disconnect, {disconnect, Id}, Id, now},
    case is_map_key(Id, Workers) of
        true ->
            Lost = maps:filter(fun(_Tag, Call) -> worker(Call) =:= Id end, Live),
            Events = [{error, Tag, #{code => unavailable, reason => worker_down}} || Tag <- maps:keys(Lost)],
            Left = Model#model{workers = maps:remove(Id, Workers), live = maps:without(maps:keys(Lost), Live)},
            {[Disconnect], Events ++ [{ok, {disconnect, Id}, #{}}], Left};
        false ->
            {[Disconnect], [{error, {disconnect, Id}, #{code => not_found}}], Model}
    end;
plain_step(Model, {echo, Tag, Id}) ->
    Args = #{<<"a">> => <<"b">>},
    open(Model, Tag, Id, {execute, Tag, {worker, Id}, <<"echo">>, Args, #{}}, [{ok, Tag, Args}], none);
plain_step(Model, {fails, Tag, Id}) ->
    Error = {error, Tag, #{code => not_found, origin => worker, sent => true}},
    open(Model, Tag, Id, {execute, Tag, {worker, Id}, <<"status">>, #{<<"status">> => <<"5">>}, #{}}, [Error], none);
plain_step(Model, {hangs, Tag, Id}) ->
    Message = {execute, Tag, {worker, Id}, <<"silent">>, #{}, #{timeout => infinity}},
    open(Model, Tag, Id, Message, [], #unary{worker = Id});
plain_step(Model, {stream, Tag, Id, Total, Credit}) ->
    {Events, Live} = flow(Tag, #stream{worker = Id, total = Total}, Credit),
    open(Model, Tag, Id, stream_message(Tag, Id, Total, Credit), Events, Live);
plain_step(#model{live = Live} = Model, {credit, Tag, N}) ->
    case Live of
        #{Tag := #stream{} = Stream} ->
            {Events, Next} = flow(Tag, Stream, N),
            {[{credit, Tag, N}], Events, Model#model{live = keep(Tag, Next, Live)}};
        #{} ->
            {[{credit, Tag, N}], [], Model}
    end;
plain_step(#model{live = Live} = Model, {cancel, Tag}) ->
    Event =
        case Live of
            #{Tag := #stream{sent = Sent}} -> [{error, Tag, #{code => cancelled, delivered => Sent}}];
            #{Tag := #unary{}} -> [{error, Tag, #{code => cancelled}}];
            #{} -> []
        end,
    {[{cancel, Tag}], Event, Model#model{live = maps:remove(Tag, Live)}};
plain_step(#model{live = Live} = Model, {ping, Tag}) ->
    case is_map_key(Tag, Live) of
        true -> {[{ping, Tag}], [{protocol_error, duplicate_tag}], Model};
        false -> {[{ping, Tag}], [{ok, Tag, pong}], Model}
    end;
plain_step(Model, {nonsense, Message}) ->
    {[Message], [{protocol_error, bad_message}], Model};
plain_step(#model{workers = Workers} = Model, {many, N, Id}) ->
    Calls = [{execute, {many, I}, {worker, Id}, <<"echo">>, #{}, #{}} || I <- lists:seq(1, N)],
    Events =
        case is_map_key(Id, Workers) of
            true -> [{ok, {many, I}, #{}} || I <- lists:seq(1, N)];
            false -> [{error, {many, I}, #{code => not_found, sent => false}} || I <- lists:seq(1, N)]
        end,
    {Calls, Events, Model};
plain_step(Model, {session, Tag, Session, On, Command}) ->
    session_step(where(Session, Model), Model, Tag, Session, On, Command);
plain_step(#model{pins = Pins} = Model, {end_session, Session}) ->
    Tag = {end_session, Session},
    {[{end_session, Tag, Session}], [{ok, Tag, #{}}], Model#model{pins = maps:remove(Session, Pins)}};
plain_step(#model{pins = Pins} = Model, {pin, Session, Id, Incarnation}) ->
    {[{pin, Session, Id, Incarnation}], [], Model#model{pins = Pins#{Session => {Id, Incarnation}}}};
plain_step(#model{live = Live} = Model, {hasty, Tag, Id, Total, Credit}) ->
    case is_map_key(Tag, Live) of
        true ->
            plain_step(Model, {cancel, Tag});
        false ->
            {[Message], Events, Next} = open(
                Model, Tag, Id, stream_message(Tag, Id, Total, Credit), [{race, Tag, Total, Credit}], none
            ),
            {[Message, {cancel, Tag}], Events, Next}
    end.

%% The worker that a session is pinned to, and whether it still is the one that it was.
where(Session, #model{pins = Pins, workers = Workers}) ->
    case Pins of
        #{Session := {Id, Incarnation}} -> {case Workers of #{Id := Incarnation} -> pinned; #{} -> lost end, Id};
        #{} -> new
    end.

%% A new session goes to the worker that it names, or to any: which one is known only if there are no two.
session_step(new, #model{workers = Workers} = Model, Tag, Session, any, Command) when map_size(Workers) =:= 2 ->
    session_step(new, Model, Tag, Session, hd(maps:keys(Workers)), Command);
session_step(Where, #model{workers = Workers, live = Live, pins = Pins} = Model, Tag, Session, On, Command) ->
    To = case On of any -> {session, Session}; _ -> {session, Session, On} end,
    Message = {execute, Tag, To, Command, #{}, #{timeout => infinity}},
    Starts = fun(Id, Before, Next) ->
        {Events, Call} = case Command of
            <<"echo">> -> {[{ok, Tag, #{}}], none};
            <<"silent">> -> {[], #unary{worker = Id}}
        end,
        {[Message], Before ++ Events, Next#model{live = keep(Tag, Call, Live)}}
    end,
    Pinned = fun(Id, Incarnation) -> Model#model{pins = Pins#{Session => {Id, Incarnation}}} end,
    Fails = fun(Code, Reason, Next) -> {[Message], [{error, Tag, #{code => Code, reason => Reason, sent => false}}], Next} end,
    case {Where, maps:to_list(Workers)} of
        _ when is_map_key(Tag, Live) -> {[Message], [{protocol_error, duplicate_tag}], Model};
        {{_, Id}, _} when On =/= any, On =/= Id -> Fails(failed_precondition, session_pinned, Model);
        {{pinned, Id}, _} -> Starts(Id, [], Model);
        {{lost, _}, _} -> Fails(failed_precondition, session_lost, Model#model{pins = maps:remove(Session, Pins)});
        {new, []} when On =:= any -> Fails(unavailable, no_worker, Model);
        {new, [{Id, Incarnation}]} when On =:= any -> Starts(Id, [{pinned, Session, Id, Incarnation}], Pinned(Id, Incarnation));
        {new, _} when is_map_key(On, Workers) -> Starts(On, [{pinned, Session, On, map_get(On, Workers)}], Pinned(On, map_get(On, Workers)));
        {new, _} -> Fails(not_found, no_worker, Model)
    end.

stream_message(Tag, Id, Total, Credit) ->
    Args = maps:from_list([{<<"count">>, integer_to_binary(Total)} || Total =/= infinity]),
    {execute_stream, Tag, {worker, Id}, <<"count">>, Args, #{credit => Credit, timeout => infinity}}.

%% A call: to a live tag it is a duplicate, to an unknown worker an error.
open(#model{workers = Workers, live = Live} = Model, Tag, Id, Message, Events, Call) ->
    case {is_map_key(Tag, Live), is_map_key(Id, Workers)} of
        {true, _} -> {[Message], [{protocol_error, duplicate_tag}], Model};
        {false, false} -> {[Message], [{error, Tag, #{code => not_found, origin => mux, sent => false}}], Model};
        {false, true} -> {[Message], Events, Model#model{live = keep(Tag, Call, Live)}}
    end.

keep(Tag, none, Live) -> maps:remove(Tag, Live);
keep(Tag, Call, Live) -> Live#{Tag => Call}.

worker(#stream{worker = Id}) -> Id;
worker(#unary{worker = Id}) -> Id.

%% A stream under credit brings exactly as many chunks; the end costs none.
flow(Tag, #stream{total = Total, sent = Sent} = Stream, Credit) ->
    Now =
        case Total of
            infinity -> Sent + Credit;
            _ -> min(Total, Sent + Credit)
        end,
    Chunks = [{chunks, Tag, lists:seq(Sent, Now - 1)}],
    case Now of
        Total -> {Chunks ++ [{done, Tag, Total}], none};
        _ -> {Chunks, Stream#stream{sent = Now}}
    end.
