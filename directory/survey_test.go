package directory_test

import (
	"strings"
	"testing"

	"github.com/dirpost/dirpost/directory/profile"
	"github.com/dirpost/dirpost/directory/provision"
	"github.com/dirpost/dirpost/directory/survey"
)

// look returns everything that a survey says of a server, a line each.
func look(t *testing.T, find func() ([]survey.Finding, error)) string {
	t.Helper()
	findings, err := find()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range findings {
		b.WriteString(string(f.Level) + " " + f.Text + "\n")
	}
	return b.String()
}

// A directory that was set up by us lacks nothing. What accounts miss, and what the service may read too much, is told.
func TestSurvey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *server, p *provision.Provisioner) {
		user(t, p, "alice")
		opts := survey.Options{Base: base, Profile: s.profile}
		c := s.frontend(t)
		server := look(t, func() ([]survey.Finding, error) { return survey.Server(t.Context(), c, opts) })
		if strings.Contains(server, "lacks ") || strings.Contains(server, "fault ") || !strings.Contains(server, "changes are learned as they happen") {
			t.Errorf("of the server it says\n%s", server)
		}
		entries := func() string {
			return look(t, func() ([]survey.Finding, error) { return survey.Entries(t.Context(), c, opts) })
		}
		if got, want := entries(), "ok 2 accounts\nok 1 mail domain\nlacks no authority of client certificates: nobody logs in by certificate\n"; got != want {
			t.Errorf("of the entries it says\n%s\nwant\n%s", got, want)
		}
		admin := s.connect(t, s.admin)
		s.set(t, admin, person("alice"), "dpMailService")
		if got := entries(); !strings.Contains(got, "lacks 1 account without dpMailService: they may use no service") {
			t.Errorf("of an account without services it says\n%s", got)
		}
		all := look(t, func() ([]survey.Finding, error) { return survey.Entries(t.Context(), admin, opts) })
		if !strings.Contains(all, "fault the service can read the stored passwords of 2 accounts") {
			t.Errorf("to one who may read everything it says\n%s", all)
		}
		other := survey.Options{Base: "dc=elsewhere,dc=org"}
		if got := look(t, func() ([]survey.Finding, error) { return survey.Server(t.Context(), c, other) }); !strings.Contains(got, "fault the server does not hold dc=elsewhere,dc=org, but "+base) {
			t.Errorf("of a wrong base it says\n%s", got)
		}
	})
}

const foreignRoot = `dn:
namingContexts: DC=example,DC=org
supportedControl: 1.2.840.113556.1.4.319
subschemaSubentry: CN=Aggregate
vendorName: Corp

dn: CN=Aggregate
objectClass: subSchema
`

// What a server lacks is told by the server's names, with what does not work for that.
func TestSurveyOfForeign(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, kind, tree, domains string
		want, wantNot             []string
	}{
		{"an OpenLDAP without our schema", profile.OpenLDAP, foreignRoot + "attributeTypes: ( 2.5.4.3 NAME ( 'mail' 'rfc822Mailbox' ) )\nobjectClasses: ( 1.1 NAME 'groupOfNames' )\n", "",
			[]string{"ok Corp, profile openldap", "fault attribute mailLocalAddress is not in the server's schema: nobody receives mail", "fault object class dpMailAccount is not",
				"lacks no content synchronization", "lacks no Password Modify", "fault there is no account", "fault no mail domain is ours"},
			[]string{"groupOfNames", "attribute mail "}},
		{"Active Directory", profile.ActiveDirectory, foreignRoot + "attributeTypes: ( 1 NAME 'proxyAddresses' )\nattributeTypes: ( 2 NAME 'sAMAccountName' )\nattributeTypes: ( 3 NAME 'mail' )\n" +
			"objectClasses: ( 4 NAME 'user' )\nobjectClasses: ( 5 NAME 'group' )\n", "example.org",
			[]string{"fault attribute userAccountControl is not in the server's schema (it stands for dpAccountStatus)", "lacks attribute dpQuotaBytes: profile ad has none: no quotas by size", "ok 1 mail domain"},
			[]string{"Password Modify", "mailLocalAddress", "dpMailService", "paged"}},
		{"nobody may read the schema", profile.Qmail, strings.ReplaceAll(foreignRoot, "CN=Aggregate", "CN=Hidden")[:strings.Index(foreignRoot, "\n\n")-2] + "\n", "example.org",
			[]string{"lacks the schema of the server may not be read"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := profile.New(tt.kind, profile.Changes{})
			if err != nil {
				t.Fatal(err)
			}
			c := newForeign(t, tt.kind, tt.tree).connect(t, profile.Changes{})
			opts := survey.Options{Base: foreignBase, Profile: p}
			if tt.domains != "" {
				opts.Domains = []string{tt.domains}
			}
			got := look(t, func() ([]survey.Finding, error) { return survey.Server(t.Context(), c, opts) }) +
				look(t, func() ([]survey.Finding, error) { return survey.Entries(t.Context(), c, opts) })
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			for _, not := range tt.wantNot {
				if strings.Contains(got, not) {
					t.Errorf("%q is in\n%s", not, got)
				}
			}
		})
	}
}
