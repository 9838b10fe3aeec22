%% What options there are and what they may be: of an instance and of a call. Workers: snakemux_spec.
-module(snakemux_options).

-export([instance/1, call/1, credit/1, await/1, restart/1, to_map/2, check/3, is_text/1, fail/3, format_error/2, priv_dir/0]).
-export([is_positive/1, is_zero_or_positive/1, is_timeout/1, is_name/1, is_metadata/1]).

-export_type([instance/0, rule/0]).

-type instance() :: #{
    name := atom(),
    program := string(),
    arguments := [string()],
    drain_timeout := non_neg_integer(),
    session_ttl := pos_integer(),
    max_message := pos_integer(),
    workers := [snakemux_spec:worker()]
}.
%% What an option may be, and how to say so; or the atoms that it may be.
-type rule() :: {fun((term()) -> boolean()), string()} | [atom()].

-define(FROM_ZERO, {fun ?MODULE:is_zero_or_positive/1, "milliseconds, from 0 on"}).
-define(TIMEOUT, {fun ?MODULE:is_timeout/1, "1..2147483647 milliseconds or infinity"}).
-define(NAME, {fun ?MODULE:is_name/1, "a binary that is not empty"}).

%% @doc The options of start_link/1, checked and completed.
-spec instance(map() | proplists:proplist()) -> instance().
instance(Options0) ->
    Options = to_map(instance, Options0),
    check(instance, Options, instance_rules()),
    is_map_key(name, Options) orelse fail(name, missing, "an atom, the name of the instance"),
    MaxMessage = maps:get(max_message, Options, 67108864),
    Limits = [max_frame, max_message, max_buffered, max_queue, max_calls, max_sessions, session_ttl],
    #{
        name => maps:get(name, Options),
        program => program(Options),
        arguments => lists:append([argument(Key, Value) || {Key, Value} <- maps:to_list(maps:with(Limits, Options#{max_message => MaxMessage}))]),
        drain_timeout => maps:get(drain_timeout, Options, 10000),
        session_ttl => maps:get(session_ttl, Options, 3600000),
        max_message => MaxMessage,
        workers => snakemux_spec:workers(maps:get(workers, Options, []), MaxMessage)
    }.

program(#{program := Program}) -> unicode:characters_to_list(Program);
program(_) ->
    case os:getenv("SNAKEMUX_PROGRAM") of
        false -> filename:join(priv_dir(), "snakemux");
        Program -> Program
    end.

%% @doc Where the port program and the Python library are.
-spec priv_dir() -> string().
priv_dir() ->
    case code:priv_dir(snakemux) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

argument(Key, Value) -> ["--" ++ [dash(C) || C <- atom_to_list(Key)], integer_to_list(Value)].

dash($_) -> $-;
dash(C) -> C.

%% @doc The options of a call, checked.
-spec call(map() | proplists:proplist()) -> snakemux_proto:call_options().
call(Options0) ->
    Options = to_map(call, Options0),
    map_size(Options) =:= 0 orelse check(call, Options, call_rules()),
    Options.

%% @doc What credit/2 takes.
-spec credit(term()) -> ok.
credit(N) -> check(credit, #{credit => N}, maps:with([credit], call_rules())).

%% @doc The options of restart_workers/2, checked and completed.
-spec restart(map() | proplists:proplist()) -> #{rolling := boolean(), drain := non_neg_integer(), timeout := timeout()}.
restart(Options0) ->
    Options = to_map(restart_workers, Options0),
    check(restart_workers, Options, #{
        rolling => [true, false], drain => ?FROM_ZERO, timeout => ?TIMEOUT
    }),
    maps:merge(#{rolling => false, drain => 30000, timeout => 60000}, Options).

%% @doc The options of await_ready/2, checked and completed.
-spec await(map() | proplists:proplist()) -> #{workers := all | pos_integer(), timeout := timeout()}.
await(Options0) ->
    Options = to_map(await_ready, Options0),
    check(await_ready, Options, #{
        workers => {fun(V) -> V =:= all orelse is_positive(V) end, "all or an integer from 1 on"},
        timeout => ?TIMEOUT
    }),
    maps:merge(#{workers => all, timeout => 30000}, Options).

instance_rules() ->
    Positive = {fun ?MODULE:is_positive/1, "an integer from 1 on"},
    #{
        name => {fun(V) -> is_atom(V) andalso V =/= undefined andalso V =/= nil end, "an atom"},
        workers => {fun(V) -> length(V) >= 0 end, "a list of workers"},
        program => {fun is_text/1, "a path"},
        drain_timeout => ?FROM_ZERO,
        max_frame => Positive,
        max_message => Positive,
        max_buffered => Positive,
        max_queue => Positive,
        max_calls => Positive,
        max_sessions => Positive,
        session_ttl => Positive
    }.

%% A literal, which costs a call nothing.
call_rules() ->
    #{
        timeout => ?TIMEOUT,
        credit => {fun ?MODULE:is_timeout/1, "1..2147483647 or infinity"},
        codec => [terms, raw, json, msgpack],
        null => [null, nil],
        tensors => [tuple, struct],
        metadata => {fun ?MODULE:is_metadata/1, "a map or a list of {Key, Value}, both binaries"},
        wait_for_ready => [true, false],
        on_session_lost => [error, move],
        request_id => ?NAME,
        compression => [none, gzip],
        session => ?NAME,
        worker => ?NAME
    }.

%% @private
-spec is_positive(term()) -> boolean().
is_positive(V) -> is_integer(V) andalso V > 0 andalso V =< 2147483647.

%% @private
-spec is_zero_or_positive(term()) -> boolean().
is_zero_or_positive(V) -> V =:= 0 orelse is_positive(V).

%% @private
-spec is_timeout(term()) -> boolean().
is_timeout(V) -> V =:= infinity orelse is_positive(V).

%% @private
-spec is_name(term()) -> boolean().
is_name(V) -> is_binary(V) andalso V =/= <<>>.

%% @private
-spec is_metadata(term()) -> boolean().
is_metadata(V) -> is_map(V) orelse is_list(V).

%% @doc Text for the operating system: not empty, and without NUL, where it would end.
-spec is_text(term()) -> boolean().
is_text(V) when is_binary(V) ->
    case unicode:characters_to_list(V) of
        [_ | _] = Text -> not lists:member(0, Text);
        _ -> false
    end;
is_text(V) -> V =/= [] andalso io_lib:printable_unicode_list(V).

%% @doc Options as a map; anything that is neither a map nor a proplist is badarg. Of two entries the first counts.
-spec to_map(atom(), map() | proplists:proplist()) -> map().
to_map(_, Options) when is_map(Options) -> Options;
to_map(What, Options) ->
    try
        maps:from_list(lists:reverse(proplists:unfold(Options)))
    catch
        error:_ -> fail(What, Options, "options as a map or a list of {Key, Value}")
    end.

%% @doc Checks every option against its rule.
-spec check(atom(), map(), #{atom() => rule()}) -> ok.
check(What, Options, Rules) ->
    maps:foreach(
        fun(Key, Value) ->
            case Rules of
                #{Key := Rule} -> allows(Rule, Value) orelse fail(Key, Value, allowed(Rule));
                #{} ->
                    Known = lists:join(", ", [atom_to_list(K) || K <- lists:sort(maps:keys(Rules))]),
                    fail(Key, Value, io_lib:format("no option of ~s: there are ~s", [What, Known]))
            end
        end,
        Options
    ).

allowed({_, Text}) -> Text;
allowed(Atoms) -> lists:join(" | ", [atom_to_list(A) || A <- Atoms]).

%% A rule may trip over what it does not expect: an improper list, say.
allows({Is, _}, Value) -> try Is(Value) catch error:_ -> false end;
allows(Atoms, Value) -> lists:member(Value, Atoms).

%% @doc Raises badarg; the text names the option, its value and what is allowed.
-spec fail(term(), term(), iodata()) -> no_return().
fail(Key, Value, Allowed) ->
    erlang:error(badarg, [Key, Value, Allowed], [{error_info, #{module => ?MODULE}}]).

%% @private
%% For the shell, and for the message of Elixir's ArgumentError.
-spec format_error(term(), erlang:stacktrace()) -> #{general => binary()}.
format_error(_, [{_, _, [Key, missing, Allowed], _} | _]) ->
    #{general => text("option ~p is missing: it must be ~ts", [Key, Allowed])};
format_error(_, [{_, _, [Key, Value, Allowed], _} | _]) ->
    #{general => text("option ~tp is ~tp: it must be ~ts", [Key, Value, Allowed])}.

%% Elixir takes a binary only.
text(Format, Values) -> unicode:characters_to_binary(io_lib:format(Format, Values)).
