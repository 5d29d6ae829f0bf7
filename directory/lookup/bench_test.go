package lookup

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/directory/view"
)

// person is an entry as provisioning makes them, with a certificate mapping and an alias.
func person(i int) (view.ID, *ldap.Entry) {
	id := view.ID{byte(i >> 16), byte(i >> 8), byte(i), 0x40, 0x80}
	login := fmt.Sprintf("user%06d", i)
	return id, ldap.NewEntry("uid="+login+",ou=people,dc=example,dc=org", map[string][]string{
		"objectClass":      {"inetOrgPerson", "inetLocalMailRecipient", "dpMailAccount", "dpCertMapping"},
		"uid":              {login},
		"cn":               {fmt.Sprintf("First%d Last%d", i%977, i%1013)},
		"mail":             {login + "@example.org"},
		"mailLocalAddress": {login + "@example.org", fmt.Sprintf("first.last.%d@example.org", i)},
		"dpAccountStatus":  {"active"},
		"dpMailService":    {"submission", "imap"},
		"dpMailboxId":      {fmt.Sprintf("6f1c2f5e-0000-4000-8000-%012d", i)},
		"dpCertSHA256":     {strings.Repeat(fmt.Sprintf("%08x", i), 8)},
		"pwdChangedTime":   {"20261125090000Z"},
		"entryCSN":         {"20261125090000.123456Z#000000#000#000000"},
	})
}

// BenchmarkView asks a warm view of many people, and changes it. It also tells how large it is and how long loading takes.
func BenchmarkView(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			v := view.Open(view.Options{})
			before, begun := heap(), time.Now()
			edit := v.Edit()
			edit.Put(view.ID{0xff}, ldap.NewEntry("associatedDomain=example.org,ou=domains", map[string][]string{
				"objectClass": {"dpMailDomain"}, "associatedDomain": {"example.org"}, "dpQuotaBytes": {"1000000000"},
			}))
			for i := range size {
				edit.Put(person(i))
			}
			origin := view.Origin{Means: view.Syncrepl}
			edit.Commit(origin, nil)
			took := time.Since(begun)
			perEntry := float64(heap()-before) / float64(size)
			r := New(nil, Options{View: v})
			b.Run("route", func(b *testing.B) {
				b.ReportMetric(perEntry, "bytes/entry")
				b.ReportMetric(took.Seconds(), "seconds-to-load")
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						a := directory.Address{Local: fmt.Sprintf("user%06d", i%size), Domain: "example.org"}
						if _, err := r.Route(b.Context(), a, nil); err != nil {
							b.Error(err)
						}
					}
				})
			})
			b.Run("unknown", func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := r.Route(b.Context(), directory.Address{Local: "nobody", Domain: "example.org"}, nil); err == nil {
							b.Error("somebody")
						}
					}
				})
			})
			b.Run("account", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if _, err := r.Account(b.Context(), fmt.Sprintf("user%06d", i%size)); err != nil {
						b.Error(err)
					}
				}
			})
			b.Run("change", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					id, e := person(i % size)
					e.Attributes[0].Values = append(e.Attributes[0].Values, fmt.Sprint(i))
					edit := v.Edit()
					edit.Put(id, e)
					edit.Commit(origin, nil)
				}
			})
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
