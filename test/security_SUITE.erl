%% What docs/SECURITY.md promises, end to end, against real Python workers. The environment of workers is in snakemux_SUITE,
%% the warning about TLS in snakemux_spec_tests.
-module(security_SUITE).
-include_lib("stdlib/include/assert.hrl").
-include_lib("public_key/include/public_key.hrl").
-compile(export_all).

-import(mux_tools, [python/0, python/1, start/1, start/2, stop/1, eventually/1, pid_of/2, port_pid/1, signal/2, script/3]).

suite() -> [{timetrap, {minutes, 1}}].

all() -> [sockets_are_private, nothing_becomes_an_atom, values_are_not_logged, values_are_not_in_crash_reports, tls_verifies_the_worker].

end_per_testcase(_, _) ->
    _ = logger:remove_handler(?MODULE),
    logger:set_primary_config(level, notice),
    [stop(Name) || Name <- registered(), lists:prefix("mux_", atom_to_list(Name))],
    ok.

%% Each in a directory of its own that only this user may enter, gone with the worker.
sockets_are_private(_) ->
    Mux = start([python(#{count => 2})]),
    {ok, Workers} = snakemux:workers(Mux),
    Dirs = [filename:dirname(Socket) || #{target := <<"unix:", Socket/binary>>} <- Workers],
    ?assertEqual(2, length(lists:usort(Dirs))),
    [?assertEqual(8#40700, mode(Dir)) || Dir <- Dirs],
    ok = snakemux:restart_worker(Mux, <<"py-0">>),
    mux_tools:wait_ready(Mux, 15000),
    ?assertNot(filelib:is_dir(hd(Dirs))),
    stop(Mux),
    [?assertNot(filelib:is_dir(Dir)) || Dir <- Dirs].

mode(Path) ->
    {ok, Info} = file:read_file_info(Path),
    element(8, Info).

%% Whatever a worker says, in whatever place, is a binary.
nothing_becomes_an_atom(_) ->
    Word = fun() -> <<"atom_", (binary:encode_hex(rand:bytes(8)))/binary>> end,
    [Key, Deep, Text, Chunk, Command] = Words = [Word() || _ <- lists:seq(1, 5)],
    Mux = start([python(#{env => #{"COMMAND" => binary_to_list(Command)}})]),
    {ok, #{Key := #{Deep := Text}}} = snakemux:execute(Mux, <<"give_back">>, #{Key => #{Deep => Text}}),
    {ok, [#{Chunk := Chunk}]} = snakemux:stream_fold(Mux, <<"give_back">>, #{Chunk => Chunk}, fun(C, All) -> {cont, [C | All]} end, []),
    {error, #{message := Text, details := #{<<"details">> := #{Key := Deep}}}} =
        snakemux:execute(Mux, <<"refuse">>, #{text => Text, details => #{Key => Deep}}),
    {ok, #{supported_commands := Commands, capabilities := Capabilities, system_info := _}} = snakemux:info(Mux, <<"py">>),
    ?assert(lists:member(Command, Commands)),
    ?assert(lists:all(fun is_binary/1, maps:keys(Capabilities))),
    {error, #{details := #{commands := _}}} = snakemux:execute(Mux, Word()),
    [?assertError(badarg, binary_to_existing_atom(W)) || W <- Words].

%% Neither by the application nor by the port program, however a call ends; at every level.
values_are_not_logged(Config) ->
    Said = filename:join(proplists:get_value(priv_dir, Config), "stderr"),
    Program = script(Config, "logged", ["#!/bin/sh\nexec ", snakemux_test_tools:program(), " \"$@\" 2>>", Said, "\n"]),
    listen(),
    Mux = start([python()], #{program => Program}),
    Secret = <<"secret-of-a-caller">>,
    Args = #{name => Secret, text => Secret, ms => 3000, Secret => [Secret]},
    {ok, _} = snakemux:execute(Mux, <<"give_back">>, Args),
    {error, #{reason := encode}} = snakemux:execute(Mux, <<"give_back">>, Args#{wrong => {Secret}}),
    {error, #{code := invalid_argument}} = snakemux:execute(Mux, <<"nap">>, Args),
    {error, #{reason := deadline}} = snakemux:execute(Mux, <<"block">>, #{name => Secret}, #{timeout => 100}),
    Stream = snakemux:execute_stream(Mux, <<"numbers">>, #{name => Secret}, #{credit => 1}),
    {chunk, _} = snakemux:next(Stream, 5000),
    ok = snakemux:abandon(Stream),
    Lost = snakemux:execute_async(Mux, <<"block">>, #{name => Secret}),
    Caller = spawn(fun() -> snakemux:execute(Mux, <<"block">>, #{name => Secret}) end),
    %% With the one that had its deadline and the stream: four.
    eventually(fun() -> {ok, 4} =:= snakemux:execute(Mux, <<"begun">>, #{name => Secret}) end),
    exit(Caller, kill),
    signal("KILL", pid_of(Mux, <<"py">>)),
    {error, #{code := unavailable}} = snakemux:next(Lost, 5000),
    Last = snakemux:execute_async(Mux, <<"block">>, #{name => Secret}),
    signal("KILL", port_pid(Mux)),
    {error, #{reason := port_down}} = snakemux:next(Last, 5000),
    stop(Mux),
    Logged = heard(),
    {ok, OnStderr} = file:read_file(Said),
    %% Something was said, so that the silence means something.
    ?assertNotEqual(nomatch, string:find(Logged, "the port program is down")),
    [?assertEqual(nomatch, string:find(Text, Secret)) || Text <- [Logged, OnStderr]].

%% Not even when the process that all of them pass through ends by a fault of its own.
values_are_not_in_crash_reports(_) ->
    listen(),
    Mux = start([python()]),
    Secret = <<"secret-of-a-caller">>,
    [Pid] = [P || {mux, P, _, _} <- supervisor:which_children(Mux)],
    {ok, Port} = snakemux_table:port(snakemux_mux:ref(Mux)),
    Monitor = erlang:monitor(process, Pid),
    %% No list of events: whoever counts them fails, with all of it in the stack.
    Pid ! {call, self(), undefined, {execute, {1, 1}, any, <<"give_back">>, #{x => Secret}, #{}}},
    Pid ! {Port, {data, term_to_binary([{ok, {1, 1}, #{x => Secret}, #{}} | Secret])}},
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertNotEqual(killed, Reason) end,
    eventually(fun() -> element(1, snakemux:execute(Mux, <<"whoami">>)) =:= ok end),
    stop(Mux),
    Logged = heard(),
    ?assertNotEqual(nomatch, string:find(Logged, "{erlang,length,1}")),
    ?assertEqual(nomatch, string:find(Logged, Secret)).

%% A worker of these roots and of this name is taken, another is not even asked.
tls_verifies_the_worker(Config) ->
    {Roots, Certificate, Key} = certificates("worker.test"),
    {OtherRoots, _, _} = certificates("worker.test"),
    [RootFile, OtherFile, CertificateFile, KeyFile] =
        [pem(Config, Name, Entries) || {Name, Entries} <- [{"roots", Roots}, {"other", OtherRoots}, {"cert", Certificate}, {"key", Key}]],
    Script = filename:join([snakemux_test_tools:root(), "test", "support", "tls_worker.py"]),
    Argv = ["exec", "--", port_by_hand:python(), Script, CertificateFile, KeyFile],
    Worker = port_by_hand:start_program(port_by_hand:program(), Argv, []),
    Target = port_by_hand:worker_target(Worker),
    Attach = fun(Id, CaFile, Name) -> {attach, Target, #{id => Id, ca_file => CaFile, authority => Name, ready_timeout => 1000}} end,
    Mux = start([Attach("right", RootFile, "worker.test")]),
    {ok, _} = snakemux:add_worker(Mux, Attach("other_roots", OtherFile, "worker.test")),
    {ok, _} = snakemux:add_worker(Mux, Attach("other_name", RootFile, "someone.else")),
    {ok, _} = snakemux:add_worker(Mux, {attach, Target, #{id => "in_the_clear", ready_timeout => 1000}}),
    Echo = fun(Id) -> snakemux:execute(Mux, <<"echo">>, #{x => 1}, #{worker => Id}) end,
    {ok, #{<<"echoed">> := #{<<"x">> := 1}}} = Echo(<<"right">>),
    [{error, #{code := unavailable, sent := false}} = Echo(Id) || Id <- [<<"other_roots">>, <<"other_name">>, <<"in_the_clear">>]],
    port_by_hand:stop_worker(Worker).

%% The roots, the certificate and the key of a server of that name.
certificates(Name) ->
    Key = [{key, {namedCurve, ?secp256r1}}, {digest, sha256}],
    Names = #'Extension'{extnID = ?'id-ce-subjectAltName', extnValue = [{dNSName, Name}], critical = false},
    Chain = #{root => Key, intermediates => [], peer => [{extensions, [Names]} | Key]},
    #{server_config := Server, client_config := Client} = public_key:pkix_test_data(#{server_chain => Chain, client_chain => Chain}),
    {Kind, Der} = proplists:get_value(key, Server),
    {
        [{'Certificate', Root, not_encrypted} || Root <- proplists:get_value(cacerts, Client)],
        [{'Certificate', proplists:get_value(cert, Server), not_encrypted}],
        [{Kind, Der, not_encrypted}]
    }.

pem(Config, Name, Entries) ->
    Path = filename:join(proplists:get_value(priv_dir, Config), Name ++ ".pem"),
    ok = file:write_file(Path, public_key:pem_encode(Entries)),
    Path.

listen() ->
    logger:set_primary_config(level, all),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self(), level => all, filters => [], filter_default => log}).

%% @private
%% A handler of the logger: all that there is of an event, as text.
log(Event, #{config := Test}) -> Test ! {logged, io_lib:format("~0tp", [Event])}.

heard() -> unicode:characters_to_binary(heard_texts()).

heard_texts() -> receive {logged, Text} -> [Text | heard_texts()] after 200 -> [] end.
