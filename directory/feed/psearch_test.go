package feed

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/client"
	"github.com/dirpost/dirpost/directory/view"
)

// A pserver is as much of an LDAP server as a persistent search needs: it takes any bind, answers each search with all its
// entries, and tells those who asked for it of changes. (389-ds has the real one.)
type pserver struct {
	mu        sync.Mutex // guards what follows, and the writing to connections
	entries   map[string][]string
	listeners map[net.Conn]int64 // by the connection: the message id of the persistent search
}

// dial connects to the server.
func (s *pserver) dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go s.serve(theirs)
	return ours, nil
}

func (s *pserver) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		s.mu.Lock()
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			s.send(c, id, result(ldap.ApplicationBindResponse))
		case ldap.ApplicationSearchRequest:
			s.search(c, id, op, len(p.Children) > 2 && strings.Contains(string(p.Children[2].Bytes()), psearchControl))
		}
		s.mu.Unlock()
	}
}

// search answers a search. The caller holds mu.
func (s *pserver) search(c net.Conn, id int64, op *ber.Packet, persistent bool) {
	if persistent {
		s.listeners[c] = id
		return
	}
	if op.Children[0].Value == "" {
		s.send(c, id, entry("", "supportedControl", psearchControl))
	} else {
		for dn, pairs := range s.entries {
			s.send(c, id, entry(dn, pairs...))
		}
	}
	s.send(c, id, result(ldap.ApplicationSearchResultDone))
}

// change makes a change, nil to delete, and tells of it.
func (s *pserver) change(kind int64, dn string, pairs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := pairs
	if kind == deletion {
		delete(s.entries, dn)
	} else {
		s.entries[dn] = pairs
	}
	note := ber.NewSequence("")
	note.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, kind, ""))
	control := ber.NewSequence("")
	control.AppendChild(octets(changeControl))
	control.AppendChild(octets(string(note.Bytes())))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(control)
	for c, id := range s.listeners {
		s.send(c, id, entry(dn, told...), controls)
	}
}

// listened waits until somebody listens.
func (s *pserver) listened() {
	for n := 0; n == 0; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		n = len(s.listeners)
		s.mu.Unlock()
	}
}

// cut ends all persistent searches, and with them their connections.
func (s *pserver) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.listeners {
		c.Close()
		delete(s.listeners, c)
	}
}

func (s *pserver) send(c net.Conn, id int64, parts ...*ber.Packet) {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	for _, part := range parts {
		p.AppendChild(part)
	}
	c.Write(p.Bytes()) // who is gone does not hear
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(tag ber.Tag) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(0), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(""))
	return p
}

func entry(dn string, pairs ...string) *ber.Packet {
	attrs := ber.NewSequence("")
	for i := 0; i < len(pairs); i += 2 {
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(octets(pairs[i+1]))
		attr := ber.NewSequence("")
		attr.AppendChild(octets(pairs[i]))
		attr.AppendChild(values)
		attrs.AppendChild(attr)
	}
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(dn))
	p.AppendChild(attrs)
	return p
}

func person(n int, mail string) []string {
	return []string{"entryUUID", fmt.Sprintf("00000000-0000-0000-0000-%012d", n), "objectClass", "dpMailAccount", "mailLocalAddress", mail, "modifyTimestamp", "20260101000000Z"}
}

// Persistent search is taken where there is nothing better: additions, changes, renames and deletions arrive, and after a
// break what happened meanwhile.
func TestPersistentSearch(t *testing.T) {
	t.Parallel()
	s := &pserver{entries: map[string][]string{"uid=ann": person(1, "ann@example.org")}, listeners: map[net.Conn]int64{}}
	c, err := client.New(client.Options{Dial: s.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v := view.Open(view.Options{})
	f := Start(c, v, Options{Base: "dc=example", Retry: time.Millisecond, Every: 20 * time.Millisecond})
	defer f.Close()

	holds := func(addr, want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			now, _ := v.Moment()
			entries, err := now.Find(t.Context(), view.Query{Any: []view.Term{{Attr: "mailLocalAddress", Value: addr}}})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(entries) > 0 {
				got = entries[0].DN
			}
			if now.Current && got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is an address of %q, want %q; %+v", addr, got, want, f.Status())
			}
		}
	}
	holds("ann@example.org", "uid=ann")
	if now, _ := v.Moment(); now.Origin.Means != view.PSearch {
		t.Errorf("the view comes by %q, want %q", now.Origin.Means, view.PSearch)
	}
	const add, modify, rename = 1, 4, 8
	s.change(add, "uid=bob", person(2, "bob@example.org")...)
	holds("bob@example.org", "uid=bob")
	s.listened()
	s.change(modify, "uid=bob", person(2, "robert@example.org")...)
	holds("robert@example.org", "uid=bob")
	holds("bob@example.org", "")
	s.change(rename, "uid=robert", person(2, "robert@example.org")...)
	holds("robert@example.org", "uid=robert")
	s.change(deletion, "uid=robert", person(2, "robert@example.org")...)
	holds("robert@example.org", "")
	s.change(add, "uid=carl", person(3, "carl@example.org")...)
	holds("carl@example.org", "uid=carl")
	s.change(deletion, "uid=carl") // by its name only
	holds("carl@example.org", "")

	s.cut() // nobody listens to what follows
	s.change(deletion, "uid=ann")
	s.change(add, "uid=dora", person(4, "dora@example.org")...)
	holds("dora@example.org", "uid=dora")
	holds("ann@example.org", "")
}
