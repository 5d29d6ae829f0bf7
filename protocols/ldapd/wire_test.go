package ldapd

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/dirpost/dirpost/protocols/ldapwire"
	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Tags of responses, which name what they answer.
const (
	bindResponse     = 1
	searchEntry      = 4
	searchDone       = 5
	modifyResponse   = 7
	addResponse      = 9
	deleteResponse   = 11
	modifyDNResponse = 13
	compareResponse  = 15
	extendedResponse = 24
)

// A wire is a client that can send what go-ldap's would not.
type wire struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

// wire connects by the unix socket.
func (r *rig) wire(t testing.TB) *wire {
	t.Helper()
	c, err := net.Dial("unix", r.socket)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, c)
}

// wireTCP connects by TCP.
func (r *rig) wireTCP(t testing.TB) *wire {
	t.Helper()
	c, err := net.Dial("tcp", r.tcp)
	if err != nil {
		t.Fatal(err)
	}
	return newWire(t, c)
}

func newWire(t testing.TB, c net.Conn) *wire {
	c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { c.Close() })
	return &wire{c, bufio.NewReader(c), t}
}

func (w *wire) send(messages ...[]byte) {
	w.t.Helper()
	var all []byte
	for _, m := range messages {
		all = append(all, m...)
	}
	if _, err := w.Write(all); err != nil {
		w.t.Fatal(err)
	}
}

// A response is what of one is looked at.
type response struct {
	id     int64
	tag    int
	code   int // of a result
	oid    string
	op     *ber.Packet
	cookie string // of the paged results control
}

// receive reads one response.
func (w *wire) receive() response {
	w.t.Helper()
	r, err := w.read()
	if err != nil {
		w.t.Fatalf("no response: %v", err)
	}
	return r
}

func (w *wire) read() (response, error) {
	p, err := ber.ReadPacket(w.in)
	if err != nil {
		return response{}, err
	}
	r := response{id: p.Children[0].Value.(int64), tag: int(p.Children[1].Tag), op: p.Children[1]}
	if r.tag == searchEntry {
		return r, nil
	}
	r.code = int(r.op.Children[0].Value.(int64))
	for _, c := range r.op.Children[3:] {
		if c.Tag == 10 {
			r.oid = c.Data.String()
		}
	}
	if len(p.Children) > 2 {
		page, err := ldap.DecodeControl(p.Children[2].Children[0])
		if err != nil {
			return r, err
		}
		r.cookie = string(page.(*ldap.ControlPaging).Cookie)
	}
	return r, nil
}

// result passes over entries to the result, and counts them.
func (w *wire) result() (r response, entries int) {
	w.t.Helper()
	for r = w.receive(); r.tag == searchEntry; r = w.receive() {
		entries++
	}
	return r, entries
}

// closed demands that the server ends the connection now, without another word.
func (w *wire) closed() {
	w.t.Helper()
	if b, err := io.ReadAll(w.in); len(b) > 0 || isTimeout(err) {
		w.t.Errorf("the connection is not closed: %x, %v", b, err)
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}

// notice demands a notice of disconnection with this code, and the end.
func (w *wire) notice(code int) {
	w.t.Helper()
	r, _ := w.result()
	if r.id != 0 || r.tag != extendedResponse || r.oid != ldapwire.NoticeOfDisconnection || r.code != code {
		w.t.Errorf("got %+v, want a notice of disconnection with %d", r, code)
	}
	w.closed()
}

// external binds as the local user.
func (w *wire) external() {
	w.t.Helper()
	w.send(request(999, saslBind("EXTERNAL", "")))
	if r := w.receive(); r.code != 0 {
		w.t.Fatalf("external: %+v", r)
	}
}

// request makes a message.
func request(id int64, op *ber.Packet, controls ...*ber.Packet) []byte {
	m := sequence(integer(id), op)
	if len(controls) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
		for _, c := range controls {
			list.AppendChild(c)
		}
		m.AppendChild(list)
	}
	return m.Bytes()
}

func control(oid string, critical bool, value []byte) *ber.Packet {
	c := sequence(octets(oid), boolean(critical))
	if value != nil {
		c.AppendChild(octets(string(value)))
	}
	return c
}

// paged makes the control that asks for a page.
func paged(size int64, cookie string) *ber.Packet {
	return control(pagedResults, true, sequence(integer(size), octets(cookie)).Bytes())
}

func sequence(children ...*ber.Packet) *ber.Packet {
	s := ber.NewSequence("")
	for _, c := range children {
		s.AppendChild(c)
	}
	return s
}

func integer(n int64) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, n, "")
}

func enumerated(n int64) *ber.Packet {
	return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, n, "")
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func boolean(b bool) *ber.Packet {
	return ber.NewLDAPBoolean(ber.ClassUniversal, ber.TypePrimitive, ber.TagBoolean, b, "")
}

// tagged is a context-specific string.
func tagged(n ber.Tag, s string) *ber.Packet {
	return ber.NewString(ber.ClassContext, ber.TypePrimitive, n, s, "")
}

func operationOf(tag ber.Tag, children ...*ber.Packet) *ber.Packet {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	for _, c := range children {
		op.AppendChild(c)
	}
	return op
}

func simpleBind(dn, password string) *ber.Packet {
	return operationOf(0, integer(3), octets(dn), tagged(0, password))
}

func saslBind(mechanism, credentials string) *ber.Packet {
	auth := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
	auth.AppendChild(octets(mechanism))
	auth.AppendChild(octets(credentials))
	return operationOf(0, integer(3), octets(""), auth)
}

func searchAll(dn string) *ber.Packet { return searchFor(dn, "objectClass") }

// searchFor looks for entries that have present.
func searchFor(dn, present string, attributes ...string) *ber.Packet {
	list := sequence()
	for _, a := range attributes {
		list.AppendChild(octets(a))
	}
	return operationOf(3, octets(dn), enumerated(2), enumerated(0), integer(0), integer(0), boolean(false), tagged(7, present), list)
}

func deletion(dn string) *ber.Packet {
	return ber.NewString(ber.ClassApplication, ber.TypePrimitive, 10, dn, "")
}

func abandon(id int64) *ber.Packet {
	return ber.NewInteger(ber.ClassApplication, ber.TypePrimitive, 16, id, "")
}

func extendedOf(oid string) *ber.Packet { return operationOf(23, tagged(0, oid)) }

func extendedWith(oid, value string) *ber.Packet {
	return operationOf(23, tagged(0, oid), tagged(1, value))
}
