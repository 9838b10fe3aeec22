%% What of the BEAM's environment a child gets.
-module(snakemux_env_tests).
-include_lib("eunit/include/eunit.hrl").

keeps_test_() ->
    [?_assertEqual(Kept, snakemux_env:keeps(Inherit, Name)) || {Inherit, Name, Kept} <- [
        {all, "HOME", true}, {all, "DATABASE_URL", true}, {all, "RELEASE_COOKIE", false}, {all, "RELEASE_ROOT", false},
        {all, "ERL_LIBS", false}, {all, "ERLANG", true}, {all, "BINDIR", false}, {all, "ROOTDIR", false}, {all, "EMU", false},
        {all, "PROGNAME", false}, {none, "PATH", true}, {none, "HOME", true}, {none, "LC_ALL", true}, {none, "DATABASE_URL", false},
        {["X", <<"Y">>], "X", true}, {["X", <<"Y">>], "Y", true}, {["X", <<"Y">>], "PATH", true}, {["X"], "Z", false}
    ]].

filtered_test() ->
    os:putenv("RELEASE_COOKIE", "secret"),
    try
        ?assert(lists:member({"RELEASE_COOKIE", false}, snakemux_env:filtered(all))),
        ?assertNot(lists:keymember("PATH", 1, snakemux_env:filtered(all))),
        %% One's own wins.
        ?assertEqual([{"RELEASE_COOKIE", "mine"}], [P || {"RELEASE_COOKIE", _} = P <- snakemux_env:with(all, [{"RELEASE_COOKIE", "mine"}])])
    after
        os:unsetenv("RELEASE_COOKIE")
    end.
