package directory_test

import (
	"testing"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/lookup"
	"github.com/dirpost/dirpost/directory/provision"
)

// The two questions of the platform that are asked for every message and every login.
func BenchmarkDirectory(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *server{"slapd": startSlapd, "embedded": startEmbedded} {
		b.Run(name, func(b *testing.B) {
			s := start(b)
			p := provision.New(s.connect(b, s.admin), provision.Options{Base: base})
			if err := p.Init(b.Context(), "Example Association", "frontend-password", provision.NewAdmin{Login: "root", Password: "root-password"}); err != nil {
				b.Fatal(err)
			}
			if err := p.AddDomain(b.Context(), "example.org"); err != nil {
				b.Fatal(err)
			}
			user(b, p, "alice")
			c := s.frontend(b)
			r := lookup.New(c, lookup.Options{Base: base})
			alice := address(b, "alice@example.org")
			questions := map[string]func() error{
				"route":   func() error { _, err := r.Route(b.Context(), alice, nil); return err },
				"account": func() error { _, err := r.Account(b.Context(), "alice"); return err },
				"send": func() error {
					_, err := r.MaySend(b.Context(), directory.Account{DN: person("root")}, alice)
					return err
				},
				"bind": func() error { return c.Bind(b.Context(), person("alice"), "alice-password") },
			}
			for name, ask := range questions {
				b.Run(name, func(b *testing.B) {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if err := ask(); err != nil {
								b.Error(err)
							}
						}
					})
				})
			}
		})
	}
}
