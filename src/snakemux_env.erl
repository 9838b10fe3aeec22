%% Which environment variables a child process gets. A port inherits the BEAM's whole environment, the cookie of a
%% release among it, unless each variable is taken out by name.
-module(snakemux_env).

-export([filtered/1, with/2, keeps/2]).

-type inherit() :: all | none | [string() | binary()].
-export_type([inherit/0]).

%% @doc For open_port's `env': `all' is everything but what belongs to the BEAM and its release, `none' nothing but
%% PATH, HOME and the locale, a list these and the named ones.
-spec filtered(inherit()) -> [{string(), false}].
filtered(Inherit) -> [{Name, false} || {Name, _} <- os:env(), not keeps(Inherit, Name)].

%% @doc The same, with variables of one's own on top.
-spec with(inherit(), [{string(), string() | false}]) -> [{string(), string() | false}].
with(Inherit, Own) -> [Pair || {Name, _} = Pair <- filtered(Inherit), not lists:keymember(Name, 1, Own)] ++ Own.

%% @doc Whether a variable of the BEAM is passed on.
-spec keeps(inherit(), string()) -> boolean().
keeps(all, Name) ->
    not (lists:member(Name, ["BINDIR", "ROOTDIR", "EMU", "PROGNAME"]) orelse
         lists:prefix("RELEASE_", Name) orelse lists:prefix("ERL_", Name));
keeps(none, Name) ->
    lists:member(Name, ["PATH", "HOME", "LANG", "TZ", "TMPDIR"]) orelse lists:prefix("LC_", Name);
keeps(Names, Name) ->
    keeps(none, Name) orelse lists:member(Name, [unicode:characters_to_list(N) || N <- Names]).
