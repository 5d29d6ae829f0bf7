package ldapd

import (
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// page asks for a page of the eight entries of the rig's tree and returns what came.
func (w *wire) page(base string, size int64, cookie string) (entries, code int, next string) {
	w.t.Helper()
	return w.pageOf(searchAll(base), size, cookie)
}

func (w *wire) pageOf(search *ber.Packet, size int64, cookie string) (entries, code int, next string) {
	w.t.Helper()
	w.send(request(7, search, paged(size, cookie)))
	r, entries := w.result()
	return entries, r.code, r.cookie
}

func TestPagesOfEverySize(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	tests := []struct {
		name  string
		size  int64
		pages []int
	}{
		{"one by one", 1, []int{1, 1, 1, 1, 1, 1, 1, 1}},
		{"the last is smaller", 3, []int{3, 3, 2}},
		{"no empty page at the end", 4, []int{4, 4}},
		{"all at once", 8, []int{8}},
		{"more than there are", 1000, []int{8}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.external()
			cookie := ""
			for i, want := range tt.pages {
				entries, code, next := w.page(base, tt.size, cookie)
				last := i == len(tt.pages)-1
				if entries != want || code != 0 || (next == "") != last {
					t.Fatalf("page %d: %d entries, code %d, cookie %q; want %d, last %v", i, entries, code, next, want, last)
				}
				cookie = next
			}
		})
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	const refused = ldap.LDAPResultUnwillingToPerform
	tests := []struct {
		name string
		try  func(w *wire, cookie string) (code int)
		want int
	}{
		{"good once", func(w *wire, cookie string) int {
			w.page(base, 1, cookie)
			_, code, _ := w.page(base, 1, cookie)
			return code
		}, refused},
		{"invented", func(w *wire, _ string) int {
			_, code, _ := w.page(base, 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
			return code
		}, refused},
		{"of a search of another base", func(w *wire, cookie string) int {
			_, code, _ := w.page("ou=people,"+base, 1, cookie)
			return code
		}, refused},
		{"of a search with another filter", func(w *wire, cookie string) int {
			_, code, _ := w.pageOf(searchFor(base, "cn"), 1, cookie)
			return code
		}, refused},
		{"of a search for other attributes", func(w *wire, cookie string) int {
			_, code, _ := w.pageOf(searchFor(base, "objectClass", "cn"), 1, cookie)
			return code
		}, refused},
		{"of another connection", func(w *wire, cookie string) int {
			other := r.wire(w.t)
			other.external()
			_, code, _ := other.page(base, 1, cookie)
			return code
		}, refused},
		{"of who was bound before", func(w *wire, cookie string) int {
			w.external()
			_, code, _ := w.page(base, 1, cookie)
			return code
		}, refused},
		{"given back with size 0", func(w *wire, cookie string) int {
			if entries, code, next := w.page(base, 0, cookie); entries != 0 || code != 0 || next != "" {
				w.t.Errorf("giving back: %d entries, code %d, cookie %q", entries, code, next)
			}
			_, code, _ := w.page(base, 1, cookie)
			return code
		}, refused},
		{"with another size", func(w *wire, cookie string) int {
			_, code, _ := w.page(base, 3, cookie)
			return code
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := r.wire(t)
			w.external()
			_, _, cookie := w.page(base, 1, "")
			if cookie == "" {
				t.Fatal("no cookie")
			}
			w.t = t
			if got := tt.try(w, cookie); got != tt.want {
				t.Errorf("code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestPagesOpen(t *testing.T) {
	t.Parallel()
	r := start(t, Options{MaxPages: 2})
	w := r.wire(t)
	w.external()
	_, _, first := w.page(base, 1, "")
	w.page(base, 1, "")
	if _, code, cookie := w.page(base, 1, ""); code != ldap.LDAPResultAdminLimitExceeded || cookie != "" {
		t.Errorf("a third search: code %d, cookie %q; want %d", code, cookie, ldap.LDAPResultAdminLimitExceeded)
	}
	if entries, code, _ := w.page(base, 100, ""); entries != 8 || code != 0 {
		t.Errorf("a search that needs one page: %d entries, code %d; want 8", entries, code)
	}
	if entries, code, _ := w.page(base, 100, first); entries != 7 || code != 0 {
		t.Errorf("the first goes on: %d entries, code %d; want 7", entries, code)
	}
	if _, code, _ := w.page(base, 1, ""); code != 0 {
		t.Errorf("when one is done: code %d, want 0", code)
	}
}

func TestPagesAreSwept(t *testing.T) {
	t.Parallel()
	stopped := 0
	p := newPages(4, time.Minute)
	one := &page{cancel: func() {}, halt: func() { stopped++ }}
	cookie, err := p.put(one)
	if err != nil {
		t.Fatal(err)
	}
	p.sweep(time.Now().Add(59 * time.Second))
	if stopped != 0 {
		t.Error("swept too early")
	}
	p.sweep(time.Now().Add(61 * time.Second))
	if stopped != 1 || p.take(cookie) != nil {
		t.Errorf("stopped %d times, want once, and gone", stopped)
	}
}

// A size limit counts over all pages, and the error ends the search.
func TestPagesWithSizeLimit(t *testing.T) {
	t.Parallel()
	w := start(t, Options{}).wire(t)
	w.external()
	limited := operationOf(3, octets(base), enumerated(2), enumerated(0), integer(3), integer(0), boolean(false),
		tagged(7, "objectClass"), sequence())
	w.send(request(1, limited, paged(2, "")))
	r, entries := w.result()
	if entries != 2 || r.code != 0 || r.cookie == "" {
		t.Fatalf("first page: %d entries, %+v", entries, r)
	}
	w.send(request(2, limited, paged(2, r.cookie)))
	if r, entries = w.result(); entries != 1 || r.code != ldap.LDAPResultSizeLimitExceeded || r.cookie != "" {
		t.Errorf("second page: %d entries, %+v; want 1 and code %d", entries, r, ldap.LDAPResultSizeLimitExceeded)
	}
}

// An abandoned page ends its search.
func TestAbandonPage(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	w.send(request(1, searchAll(base), paged(1000, "")), request(2, abandon(1)), request(3, extendedOf(whoAmI)))
	got, entries := w.result()
	if got.id != 3 || entries >= 24 {
		t.Errorf("after %d entries %+v, want fewer than 24 and the answer to 3", entries, got)
	}
}

func TestAbandon(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	r.grow(t)
	w := r.wire(t)
	w.external()
	abandons := [][]byte{request(1, searchAll(base)), request(2, abandon(1))}
	for id := range int64(3) { // of what is not there: nothing happens
		abandons = append(abandons, request(3+id, abandon(id)))
	}
	w.send(append(abandons, request(9, extendedOf(whoAmI)))...)
	got, entries := w.result()
	if got.id != 9 || got.tag != extendedResponse || entries >= 24 {
		t.Errorf("after %d entries %+v, want fewer than 24 and the answer to 9", entries, got)
	}
	// The number may be used again.
	w.send(request(1, ber.NewString(ber.ClassApplication, ber.TypePrimitive, 10, "cn=none,"+base, "")))
	if got := w.receive(); got.id != 1 || got.code != ldap.LDAPResultNoSuchObject {
		t.Errorf("the number again: %+v", got)
	}
}
