package ldapd

import (
	"net"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// What the password policy says goes into a control, for who asks: of a bind always, of a change with the refusal.
func TestPolicyControl(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	admin := r.dialAdmin(t)
	for _, e := range []*ldap.AddRequest{
		{DN: "ou=policies," + base, Attributes: []ldap.Attribute{{Type: "objectClass", Vals: []string{"organizationalUnit"}}, {Type: "ou", Vals: []string{"policies"}}}},
		{DN: "cn=default,ou=policies," + base, Attributes: []ldap.Attribute{
			{Type: "objectClass", Vals: []string{"applicationProcess", "pwdPolicy"}}, {Type: "cn", Vals: []string{"default"}},
			{Type: "pwdAttribute", Vals: []string{"userPassword"}}, {Type: "pwdCheckQuality", Vals: []string{"1"}},
			{Type: "pwdMinLength", Vals: []string{"8"}}, {Type: "pwdMustChange", Vals: []string{"TRUE"}},
		}},
	} {
		if err := admin.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	bind := func(dn, password string) (int8, bool) {
		result, _ := r.dial(t).SimpleBind(ldap.NewSimpleBindRequest(dn, password, []ldap.Control{ldap.NewControlBeheraPasswordPolicy()}))
		if result == nil {
			return 0, false
		}
		p, ok := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
		if !ok {
			return 0, false
		}
		return p.Error, true
	}
	for name, c := range map[string][2]string{
		"right": {alice, "alice-password"}, "wrong": {alice, "wrong"}, "nobody": {"uid=nobody,ou=people," + base, "wrong"},
	} {
		if got, ok := bind(c[0], c[1]); !ok || got != -1 {
			t.Errorf("%s: control %v with error %d, want one without", name, ok, got)
		}
	}
	if _, err := admin.PasswordModify(ldap.NewPasswordModifyRequest(alice, "", "from-the-admin")); err != nil {
		t.Fatal(err)
	}
	if got, ok := bind(alice, "from-the-admin"); !ok || got != 2 {
		t.Errorf("reset: control %v with error %d, want 2", ok, got)
	}
	if got := r.refusal(t, alice, "from-the-admin", "short"); got != "\x30\x03\x81\x01\x06" {
		t.Errorf("a short password: control %q, want error 6", got)
	}
}

// refusal has somebody set a short password and returns the value of the control in the answer: go-ldap drops those of
// errors.
func (r *rig) refusal(t *testing.T, dn, password, short string) string {
	t.Helper()
	conn, err := net.Dial("tcp", r.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	octets := func(s string) *ber.Packet {
		return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
	}
	sequence := func(children ...*ber.Packet) *ber.Packet {
		p := ber.NewSequence("")
		for _, c := range children {
			p.AppendChild(c)
		}
		return p
	}
	integer := func(n int64) *ber.Packet {
		return ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, n, "")
	}
	bind := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationBindRequest, nil, "")
	bind.AppendChild(integer(3))
	bind.AppendChild(octets(dn))
	bind.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, password, ""))
	values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
	values.AppendChild(octets(short))
	modify := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationModifyRequest, nil, "")
	modify.AppendChild(octets(dn))
	replace := ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, ldap.ReplaceAttribute, "")
	modify.AppendChild(sequence(sequence(replace, sequence(octets("userPassword"), values))))
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(sequence(octets(passwordPolicy)))
	for _, m := range []*ber.Packet{sequence(integer(1), bind), sequence(integer(2), modify, controls)} {
		if _, err := conn.Write(m.Bytes()); err != nil {
			t.Fatal(err)
		}
		answer, err := ber.ReadPacket(conn)
		if err != nil {
			t.Fatal(err)
		}
		if len(answer.Children) == 3 {
			return answer.Children[2].Children[0].Children[1].Data.String()
		}
	}
	return ""
}
