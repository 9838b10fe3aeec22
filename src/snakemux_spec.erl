%% What a worker is, as the user writes it: {python, Opts}, {exec, Argv, Opts}, {legacy, Opts}, {attach, Target, Opts}. Checked here,
%% and turned into what snakemux_worker starts.
-module(snakemux_spec).

-export([workers/2, argv/2, env/2]).
-export([interpreter/1, path/1]).

-export_type([worker/0, spec/0]).

-type spec() ::
    {python, map() | proplists:proplist()}
    | {exec, [string() | binary()], map() | proplists:proplist()}
    | {legacy, map() | proplists:proplist()}
    | {attach, string() | binary(), map() | proplists:proplist()}
    | {exec, [string() | binary()]}
    | {attach, string() | binary()}.

-type worker() :: #{
    id := snakemux_proto:worker_id(),
    index := non_neg_integer(),
    kind := python | exec | legacy | attach,
    argv => [string()],
    port => inet:port_number(),
    target => binary(),
    path => [string()],
    env => [{string(), string()}],
    env_inherit => snakemux_env:inherit(),
    cd => string(),
    ready_timeout := pos_integer(),
    %% The worker that must have started before this one does.
    behind => snakemux_proto:worker_id(),
    stuck_grace := pos_integer(),
    on_stuck := restart | ignore,
    kill_unresponsive := boolean(),
    connect := map()
}.

-define(MAX_MESSAGE, "SNAKEMUX_MAX_MESSAGE").

%% Options of the connection, as the port program takes them.
-define(CONNECT, [
    weight, max_concurrent, commands, codec, keepalive, health_interval, unresponsive_after, bdp_probe, stream_window,
    ca_file, authority
]).

%% @doc All workers of these specs. Two that have one id are badarg. `MaxMessage' is the instance's.
-spec workers([spec()], pos_integer()) -> [worker()].
workers(Specs, MaxMessage) ->
    Workers = lists:append([expand(Spec, MaxMessage) || Spec <- Specs]),
    Ids = [Id || #{id := Id} <- Workers],
    case Ids -- lists:usort(Ids) of
        [] -> Workers;
        [Id | _] -> snakemux_options:fail(id, Id, "an id that no other worker of the instance has")
    end.

expand({python, Options}, MaxMessage) ->
    python(options(python, Options, python_rules()), MaxMessage);
expand({exec, Argv}, MaxMessage) ->
    expand({exec, Argv, #{}}, MaxMessage);
expand({exec, Argv, Options0}, MaxMessage) ->
    Options = options(exec, Options0, process_rules()),
    snakemux_options:check(exec, #{exec => Argv}, #{exec => command_rule()}),
    Texts = [text(A) || A <- Argv],
    lists:any(fun(A) -> has(A, "{port}") orelse has(A, "{address}") end, Texts) orelse
        snakemux_options:fail(exec, Argv, "a command with {port} or {address} in it, where the worker is to listen"),
    counted(exec, Options, (process(Options, MaxMessage))#{argv => Texts});
expand({legacy, Options0}, MaxMessage) ->
    Options = options(legacy, Options0, legacy_rules()),
    counted(legacy, Options, (process(Options, MaxMessage))#{argv => legacy_argv(Options, MaxMessage)});
expand({attach, Target}, MaxMessage) ->
    expand({attach, Target, #{}}, MaxMessage);
expand({attach, Target0, Options0}, _) ->
    Options = options(attach, Options0, common_rules()),
    Target = is_text(Target0) andalso unicode:characters_to_binary(Target0),
    lists:any(fun(Scheme) -> starts(Target, Scheme) end, ["ipv4:", "ipv6:", "dns:", "unix:", "unix-abstract:"]) orelse
        snakemux_options:fail(attach, Target0, "ipv4:…, ipv6:…, dns:…, unix:… or unix-abstract:…"),
    warn_if_open(Target, Options),
    [(common(attach, Options))#{id => id(attach, Options), index => 0, target => Target}];
expand(Other, _) ->
    snakemux_options:fail(workers, Other, "{python, Opts}, {exec, Argv, Opts}, {legacy, Opts} or {attach, Target, Opts}").

%% A stdin/stdout worker of the old kind, behind `snakemux wrap'. The guardian runs it, so its own program is at hand.
legacy_argv(Options, MaxMessage) ->
    ["/proc/self/exe", "wrap", "--address", "{address}"] ++
        ["--protocol=" ++ atom_to_list(P) || #{protocol := P} <- [Options]] ++
        ["--stuck-grace=" ++ integer_to_list(Ms) || #{stuck_grace := Ms} <- [Options]] ++
        ["--max-message=" ++ integer_to_list(MaxMessage), "--" | [text(A) || A <- old_argv(Options)]].

old_argv(#{argv := Argv}) -> Argv;
old_argv(#{adapter := Adapter}) ->
    Loaded = code:ensure_loaded(Adapter) =:= {module, Adapter} andalso erlang:function_exported(Adapter, script_args, 0),
    Loaded orelse snakemux_options:fail(adapter, Adapter, "a module with executable_path/0, script_path/0 and script_args/0"),
    [Adapter:executable_path(), Adapter:script_path() | Adapter:script_args()];
old_argv(_) ->
    snakemux_options:fail(legacy, missing, "the module of its adapter (adapter), or its command (argv)").

python(Options, MaxMessage) ->
    is_map_key(module, Options) orelse snakemux_options:fail(module, missing, "the module of the worker, or Module:Name"),
    Argv =
        [interpreter(Options), "-u", "-m", "snakemux", text(maps:get(module, Options))] ++
        case Options of #{port := _} -> ["--port", "{port}"]; #{} -> ["--address", "{address}"] end ++
        ["--threads=" ++ integer_to_list(N) || #{threads := N} <- [Options]] ++
        [lists:concat(["--stuck-grace=", Ms / 1000]) || #{stuck_grace := Ms} <- [Options]] ++
        [text(A) || A <- maps:get(args, Options, [])],
    counted(python, Options, (process(Options, MaxMessage))#{argv => Argv, path => path(maps:get(path, Options, []))}).

%% @doc The Python that runs workers: the option, $SNAKEMUX_PYTHON, the one of $VIRTUAL_ENV, python3.
-spec interpreter(map()) -> string().
interpreter(#{python := Python}) -> text(Python);
interpreter(_) ->
    case {os:getenv("SNAKEMUX_PYTHON"), os:getenv("VIRTUAL_ENV")} of
        {Python, _} when Python =/= false, Python =/= "" -> Python;
        {_, Env} when Env =/= false, Env =/= "" -> filename:join([Env, "bin", "python"]);
        _ -> "python3"
    end.

%% @doc Directories with Python modules, absolute: a directory, {priv, App, Dir}, or a list of these.
-spec path(term()) -> [string()].
path([]) -> [];
path({priv, App, Dir} = Path) ->
    case code:priv_dir(App) of
        {error, bad_name} -> snakemux_options:fail(path, Path, "of an application that is there");
        Priv -> [filename:join(Priv, text(Dir))]
    end;
path(Path) ->
    case is_text(Path) of
        true -> [filename:absname(text(Path))];
        false -> lists:append([path(P) || P <- Path])
    end.

counted(Kind, Options, Worker) ->
    Count = maps:get(count, Options, 1),
    Id = id(Kind, Options),
    AtOnce = maps:get(start_concurrency, Options, erlang:system_info(schedulers_online)),
    Base = maps:merge(common(Kind, Options), Worker),
    [behind(N - AtOnce, Id, Base#{id => numbered(Id, N, Count), index => N}) || N <- lists:seq(0, Count - 1)].

behind(N, Id, Worker) when N >= 0 -> Worker#{behind => <<Id/binary, $-, (integer_to_binary(N))/binary>>};
behind(_, _, Worker) -> Worker.

numbered(Id, _, 1) -> Id;
numbered(Id, N, _) -> <<Id/binary, $-, (integer_to_binary(N))/binary>>.

id(_, #{id := Id}) -> unicode:characters_to_binary(Id);
id(python, _) -> <<"py">>;
id(Kind, _) -> atom_to_binary(Kind).

common(Kind, Options) ->
    #{
        kind => Kind,
        ready_timeout => maps:get(ready_timeout, Options, case Kind of attach -> 5000; _ -> 60000 end),
        stuck_grace => maps:get(stuck_grace, Options, 10000),
        on_stuck => maps:get(on_stuck, Options, restart),
        kill_unresponsive => maps:get(kill_unresponsive, Options, false),
        connect => maps:map(fun connect_value/2, maps:with(?CONNECT, Options))
    }.

connect_value(commands, Commands) when is_list(Commands) -> [unicode:characters_to_binary(C) || C <- Commands];
connect_value(Key, Value) when Key =:= ca_file; Key =:= authority -> unicode:characters_to_binary(Value);
connect_value(_, Value) -> Value.

process(Options, MaxMessage) ->
    Env = case maps:get(env, Options, []) of Map when is_map(Map) -> maps:to_list(Map); List -> List end,
    Own = [{text(Name), text(Value)} || {Name, Value} <- Env],
    Worker = #{
        %% What a worker takes and gives is what the port program gives and takes, unless the user knows better.
        env => [{?MAX_MESSAGE, integer_to_list(MaxMessage)} || not lists:keymember(?MAX_MESSAGE, 1, Own)] ++ Own,
        env_inherit => maps:get(env_inherit, Options, all)
    },
    maps:merge(Worker, maps:map(fun(port, N) -> N; (cd, Dir) -> text(Dir) end, maps:with([port, cd], Options))).

options(Kind, Options0, Rules) ->
    Options = snakemux_options:to_map(Kind, Options0),
    snakemux_options:check(Kind, Options, Rules),
    Options.

python_rules() ->
    (process_rules())#{
        module => text_rule(),
        threads => positive_rule(),
        stuck_grace => positive_rule(),
        python => text_rule(),
        path => {fun is_path/1, "a directory, {priv, App, Dir}, or a list of these"},
        args => {fun(V) -> is_list(V) andalso lists:all(fun is_text/1, V) end, "a list of texts for the command line"}
    }.

legacy_rules() ->
    (process_rules())#{
        adapter => {fun(V) -> is_atom(V) end, "a module"},
        argv => command_rule(), stuck_grace => positive_rule(),
        protocol => [auto, json, msgpack]
    }.

process_rules() ->
    (common_rules())#{
        count => positive_rule(),
        port => {fun(V) -> is_integer(V) andalso V > 0 andalso V < 65536 end, "1..65535"},
        start_concurrency => positive_rule(),
        env => {fun is_env/1, "a map of texts, by name; no name has a = in it"},
        env_inherit => {
            fun(V) -> V =:= all orelse V =:= none orelse (is_list(V) andalso lists:all(fun is_text/1, V)) end,
            "all, none or a list of names"
        },
        cd => text_rule(),
        on_stuck => [restart, ignore],
        kill_unresponsive => [true, false]
    }.

common_rules() ->
    #{
        id => text_rule(),
        ready_timeout => positive_rule(),
        weight => {fun(V) -> is_integer(V) andalso V > 0 andalso V =< 1000000 end, "1..1000000"},
        max_concurrent => positive_rule(),
        commands => {
            fun(V) -> V =:= all orelse (is_list(V) andalso lists:all(fun is_text/1, V)) end,
            "all or a list of commands"
        },
        codec => [auto, json, msgpack],
        keepalive => off_rule(),
        health_interval => off_rule(),
        unresponsive_after => positive_rule(),
        bdp_probe => [true, false],
        stream_window => positive_rule(),
        ca_file => text_rule(),
        authority => text_rule()
    }.

command_rule() ->
    {fun(V) -> V =/= [] andalso lists:all(fun is_text/1, V) end, "a list of texts: the program and its arguments"}.

text_rule() -> {fun is_text/1, "text"}.

positive_rule() -> {fun snakemux_options:is_positive/1, "an integer from 1 on"}.

off_rule() ->
    {fun(V) -> V =:= off orelse (is_integer(V) andalso V > 0) end, "milliseconds from 1 on, or off"}.

is_path({priv, App, Dir}) -> is_atom(App) andalso is_text(Dir);
is_path(Path) -> is_text(Path) orelse (is_list(Path) andalso lists:all(fun is_path/1, Path)).

is_env(Env) when is_map(Env) -> is_env(maps:to_list(Env));
is_env(Env) ->
    is_list(Env) andalso lists:all(fun({N, V}) -> is_text(N) andalso not has(N, "=") andalso (is_text(V) orelse V =:= "" orelse V =:= <<>>);
                                      (_) -> false end, Env).

is_text(V) -> snakemux_options:is_text(V).

text(V) -> unicode:characters_to_list(V).

has(Text, Part) -> string:find(Text, Part) =/= nomatch.

starts(Target, Scheme) -> is_binary(Target) andalso string:prefix(Target, Scheme) =/= nomatch.

warn_if_open(Target, Options) ->
    Local = lists:any(fun(P) -> starts(Target, P) end, ["unix", "ipv4:127.", "ipv6:[::1]", "dns:localhost", "dns:///localhost"]),
    Local orelse is_map_key(ca_file, Options) orelse
        logger:warning("snakemux: ~ts is attached without TLS: arguments and results travel in the clear (option ca_file)",
                       [Target]).

%% @doc The command line of a worker with {port}, {address}, {index} and {id} filled in.
-spec argv(worker(), #{string() => string()}) -> [string()].
argv(#{argv := Argv}, Values) -> [fill(A, Values) || A <- Argv].

%% @doc Its own environment variables, filled in alike. `Library' is the directory of our Python library.
-spec env(worker(), #{string() => string()}) -> [{string(), string() | false}].
env(#{env := Env} = Worker, Values) ->
    Own = [{Name, fill(Value, Values)} || {Name, Value} <- Env],
    case Worker of
        #{path := Path, env_inherit := Inherit} ->
            [{"PYTHONPATH", python_path(Path, Own, Inherit)} | proplists:delete("PYTHONPATH", Own)];
        #{} -> Own
    end.

python_path(Path, Own, Inherit) ->
    Library = filename:join(snakemux_options:priv_dir(), "python"),
    Inherited = case snakemux_env:keeps(Inherit, "PYTHONPATH") of true -> os:getenv("PYTHONPATH", ""); false -> "" end,
    Given = [P || P <- [proplists:get_value("PYTHONPATH", Own, Inherited)], P =/= ""],
    lists:flatten(lists:join(":", Path ++ Given ++ [Library])).

fill(Text, Values) ->
    maps:fold(
        fun(Name, Value, T) -> lists:flatten(string:replace(T, Name, Value, all)) end, Text, Values
    ).
