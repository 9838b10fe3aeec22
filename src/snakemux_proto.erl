%% The terms of the port protocol, version 1, and the types of everything around it: a mirror of c_src/protocol.h.
%% Pure: no processes, no ports.
-module(snakemux_proto).

-export([version/0, fragment/0, encode/1, decode/1, decode_large/1, target/1, call_options/1, error/3, error/4]).

-export_type([
    tag/0, worker_id/0, session/0, to/0, command/0, args/0, result/0, meta/0, error/0, code/0, event/0,
    worker_state/0, call_options/0, tensor/0
]).

-type tag() :: term().
-type worker_id() :: binary().
-type session() :: binary().
-type command() :: binary().
-type to() :: any | {worker, worker_id()} | {session, session()} | {session, session(), worker_id()}.
-type args() :: map().
%% An array, in arguments, results and chunks. The shape may be a tuple, too, and the whole a `%Snakemux.Tensor{}'.
-type tensor() :: {tensor, {s | u | f | c, pos_integer()}, [non_neg_integer()], binary()}.
%% A map with binary keys, unless the handler returned something else.
-type result() :: term().
%% worker, incarnation, request_id, timestamp (ns since 1970), metadata, duration_us, chunks (streams).
-type meta() :: #{atom() => term()}.
-type code() ::
    cancelled | unknown | invalid_argument | deadline_exceeded | not_found | already_exists | permission_denied
    | resource_exhausted | failed_precondition | aborted | out_of_range | unimplemented | internal | unavailable
    | data_loss | unauthenticated.
-type error() :: #{
    code := code(),
    message := binary(),
    origin := worker | transport | mux,
    reason := atom(),
    sent := boolean(),
    details := map(),
    worker => worker_id(),
    command => command(),
    request_id => binary(),
    delivered => non_neg_integer()
}.
-type worker_state() :: connecting | ready | unresponsive | unreachable | draining | gone.
%% What a caller receives as {snakemux, Ref, Event}.
-type event() :: {ok, result()} | {chunk, result()} | passive | {done, meta()} | {error, error()}.
%% Options of one call, as the port program takes them; `session` and `worker` become its `To`.
-type call_options() :: #{
    timeout => pos_integer() | infinity,
    credit => pos_integer() | infinity,
    codec => terms | raw | json | msgpack,
    null => null | nil,
    tensors => tuple | struct,
    metadata => #{binary() => binary()} | [{binary(), binary()}],
    wait_for_ready => boolean(),
    on_session_lost => error | move,
    request_id => binary(),
    compression => none | gzip,
    session => session(),
    worker => worker_id()
}.

%% @doc The version of the protocol that this application speaks.
-spec version() -> 1.
version() -> 1.

%% @doc What has more bytes travels in parts, both ways.
-spec fragment() -> pos_integer().
fragment() -> 131072.

%% @doc A message to the port program, ready for port_command/2.
-spec encode(term()) -> [binary()].
encode(Message) -> erlang:term_to_iovec(Message).

%% @doc The events in a frame of the port program: one, or a list of them. The bytes of a part stay in the frame.
-spec decode(binary()) -> [tuple()].
decode(<<131, 104, 3, 119, 4, "part", Rest/binary>>) -> [take_part(part, Rest)];
decode(<<131, 104, 3, 119, 4, "last", Rest/binary>>) -> [take_part(last, Rest)];
decode(Frame) ->
    case binary_to_term(Frame) of
        Events when is_list(Events) -> Events;
        Event -> [Event]
    end.

%% Tags of this application are small.
take_tag(Bytes) ->
    Head = binary:part(Bytes, 0, min(byte_size(Bytes), 256)),
    {Tag, Used} = binary_to_term(<<131, Head/binary>>, [used]),
    {Tag, Used - 1}.

%% binary_to_term would copy the bytes.
take_part(Name, Bytes) ->
    {Tag, Used} = take_tag(Bytes),
    case Bytes of
        <<_:Used/binary, 109, Size:32, Part:Size/binary>> -> {Name, Tag, Part};
        _ -> error(badarg)
    end.

%% @doc An event that is large because of one binary, without a copy of that; any other as `decode/1' has it.
-spec decode_large(binary()) -> [tuple()].
decode_large(<<131, 104, 4, 119, 2, "ok", Rest/binary>> = Frame) ->
    case take_value(Rest) of
        {Tag, Value, <<116, 0:32>>} -> [{ok, Tag, Value, #{}}];
        _ -> decode(Frame)
    end;
decode_large(<<131, 104, 3, 119, 5, "chunk", Rest/binary>> = Frame) ->
    case take_value(Rest) of
        {Tag, Value, <<>>} -> [{chunk, Tag, Value}];
        _ -> decode(Frame)
    end;
decode_large(Frame) ->
    decode(Frame).

%% A tag, a map of one binary, and what is behind.
take_value(Bytes) ->
    {Tag, Used} = take_tag(Bytes),
    case Bytes of
        <<_:Used/binary, 116, 1:32, 109, K:32, Key:K/binary, 109, N:32, Value:N/binary, Behind/binary>> ->
            {Tag, #{binary:copy(Key) => Value}, Behind};
        _ ->
            other
    end.

%% @doc Where a call with these options goes.
-spec target(call_options()) -> to().
target(#{session := Session, worker := Id}) -> {session, Session, Id};
target(#{session := Session}) -> {session, Session};
target(#{worker := Id}) -> {worker, Id};
target(#{}) -> any.

%% @doc The options that travel: values are terms unless the caller says otherwise.
-spec call_options(call_options()) -> map().
call_options(Options) when is_map_key(session, Options); is_map_key(worker, Options) ->
    call_options(maps:without([session, worker], Options));
call_options(#{codec := _} = Options) -> Options;
call_options(Options) -> Options#{codec => terms}.

%% @doc An error of this application's own: nothing was sent.
-spec error(code(), atom(), iodata()) -> error().
error(Code, Reason, Message) -> error(Code, Reason, Message, false).

-spec error(code(), atom(), iodata(), boolean()) -> error().
error(Code, Reason, Message, Sent) ->
    #{
        code => Code, reason => Reason, message => unicode:characters_to_binary(Message), origin => mux, sent => Sent,
        details => #{}
    }.
