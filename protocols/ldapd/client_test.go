package ldapd

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"
)

// code is the result code in err, 0 for none, -1 for any other error.
func code(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := err.(*ldap.Error); ok && e.ResultCode < ldap.ErrorNetwork {
		return int(e.ResultCode)
	}
	return -1
}

// Every way to connect, and on each a whole day's work by go-ldap's client.
func TestClient(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	ways := []struct {
		name string
		dial func(t *testing.T) *ldap.Conn
	}{
		{"TCP", func(t *testing.T) *ldap.Conn { return r.dialAs(t, carol) }},
		{"StartTLS", func(t *testing.T) *ldap.Conn {
			c := r.dial(t)
			if err := c.StartTLS(r.client); err != nil {
				t.Fatal(err)
			}
			if err := c.Bind(carol, "carol-password"); err != nil {
				t.Fatal(err)
			}
			return c
		}},
		{"unix socket", func(t *testing.T) *ldap.Conn { return r.dialAdmin(t) }},
		{"one end of a socket pair", func(t *testing.T) *ldap.Conn {
			ours, theirs := socketPair(t)
			served := make(chan struct{})
			go func() {
				r.ServeConn(theirs)
				close(served)
			}()
			c := ldap.NewConn(ours, false)
			c.Start()
			t.Cleanup(func() {
				c.Close()
				<-served
			})
			if err := c.ExternalBind(); err != nil {
				t.Fatal(err)
			}
			return c
		}},
	}
	for i, way := range ways {
		t.Run(way.name, func(t *testing.T) { work(t, way.dial(t), "work"+strconv.Itoa(i)) })
	}
}

// dialAs binds by TCP as a person whose password is in the tree of the rig.
func (r *rig) dialAs(t testing.TB, dn string) *ldap.Conn {
	t.Helper()
	c := r.dial(t)
	name, _, _ := strings.Cut(strings.TrimPrefix(dn, "uid="), ",")
	if err := c.Bind(dn, name+"-password"); err != nil {
		t.Fatal(err)
	}
	return c
}

// socketPair is a connection between two ends of this process.
func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", "") // a name of the kernel's own
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// work makes a subtree of its own, changes it in all ways, and removes it.
func work(t *testing.T, c *ldap.Conn, name string) {
	ou := "ou=" + name + "," + base
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	who, err := c.WhoAmI(nil)
	must("who am I", err)
	if !strings.HasPrefix(who.AuthzID, "dn:") {
		t.Errorf("who am I = %q", who.AuthzID)
	}
	add := func(dn string, attrs map[string][]string) error {
		req := ldap.NewAddRequest(dn, nil)
		for k, v := range attrs {
			req.Attribute(k, v)
		}
		return c.Add(req)
	}
	must("add container", add(ou, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {name}}))
	for i := range 7 {
		uid := name + "-" + strconv.Itoa(i)
		must("add person", add("uid="+uid+","+ou, map[string][]string{"objectClass": {"inetOrgPerson", "dpMailAccount"},
			"uid": {uid}, "cn": {"Person"}, "sn": {"Person"}, "dpAccountStatus": {"active"}, "dpQuotaBytes": {"100"}}))
	}
	if err := add(ou, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {name}}); code(err) != ldap.LDAPResultEntryAlreadyExists {
		t.Errorf("add again: %v", err)
	}
	first := "uid=" + name + "-0," + ou

	change := ldap.NewModifyRequest(first, nil)
	change.Add("description", []string{"one", "two"})
	change.Increment("dpQuotaBytes", "5")
	must("modify", c.Modify(change))
	same, err := c.Compare(first, "dpQuotaBytes", "105")
	if err != nil || !same {
		t.Errorf("compare after increment: %v, %v", same, err)
	}
	if same, err = c.Compare(first, "dpQuotaBytes", "100"); err != nil || same {
		t.Errorf("compare with the old value: %v, %v", same, err)
	}

	all := ldap.NewSearchRequest(ou, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=inetOrgPerson)", []string{"uid"}, nil)
	found, err := c.SearchWithPaging(all, 3)
	must("search in pages", err)
	all.Controls = nil // where the client has left its last cookie
	if len(found.Entries) != 7 {
		t.Errorf("%d entries in pages of 3, want 7", len(found.Entries))
	}
	all.SizeLimit = 2
	if found, err = c.Search(all); code(err) != ldap.LDAPResultSizeLimitExceeded || len(found.Entries) != 2 {
		t.Errorf("size limit 2: %d entries, %v", len(found.Entries), err)
	}
	all.SizeLimit, all.TypesOnly = 0, true
	found, err = c.Search(all)
	must("types only", err)
	if got := found.Entries[0].Attributes[0]; got.Name != "uid" || len(got.Values) != 0 {
		t.Errorf("types only: %+v", got)
	}

	must("rename", c.ModifyDN(ldap.NewModifyDNRequest(first, "uid="+name+"-zero", true, "")))
	must("move the container", c.ModifyDN(ldap.NewModifyDNRequest(ou, "ou="+name, false, "ou=groups,"+base)))
	ou = "ou=" + name + ",ou=groups," + base
	first = "uid=" + name + "-zero," + ou

	made, err := c.PasswordModify(ldap.NewPasswordModifyRequest(first, "", ""))
	must("password modify", err)
	if len(made.GeneratedPassword) < 8 {
		t.Errorf("generated password %q", made.GeneratedPassword)
	}

	if err := c.Del(ldap.NewDelRequest(ou, nil)); code(err) != ldap.LDAPResultNotAllowedOnNonLeaf {
		t.Errorf("delete with entries below: %v", err)
	}
	all = ldap.NewSearchRequest(ou, ldap.ScopeWholeSubtree, 0, 0, 0, false, "(objectClass=*)", []string{"1.1"}, nil)
	found, err = c.Search(all)
	must("search all", err)
	for _, e := range slices.Backward(found.Entries) {
		must("delete "+e.DN, c.Del(ldap.NewDelRequest(e.DN, nil)))
	}
}

func TestRootDSE(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	secure := r.dial(t)
	if err := secure.StartTLS(r.client); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		c        *ldap.Conn
		external bool
		startTLS bool
	}{
		{"anonymous by TCP", r.dial(t), false, true},
		{"under TLS", secure, false, false},
		{"by unix socket", r.dialAdmin(t), true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := tt.c.Search(ldap.NewSearchRequest("", ldap.ScopeBaseObject, 0, 0, 0, false, "(objectClass=*)", []string{"*", "+"}, nil))
			if err != nil || len(found.Entries) != 1 {
				t.Fatalf("root: %v, %v", found, err)
			}
			e := found.Entries[0]
			for attr, want := range map[string]string{"supportedLDAPVersion": "3", "vendorName": "dirpost", "namingContexts": base,
				"supportedControl": pagedResults, "supportedExtension": passwordModify, "supportedFeatures": "1.3.6.1.4.1.4203.1.5.1"} {
				if !slices.Contains(e.GetAttributeValues(attr), want) {
					t.Errorf("%s = %q, want %q in it", attr, e.GetAttributeValues(attr), want)
				}
			}
			if got := slices.Contains(e.GetAttributeValues("supportedSASLMechanisms"), external); got != tt.external {
				t.Errorf("EXTERNAL offered: %v, want %v", got, tt.external)
			}
			if got := slices.Contains(e.GetAttributeValues("supportedExtension"), startTLS); got != tt.startTLS {
				t.Errorf("StartTLS offered: %v, want %v", got, tt.startTLS)
			}
		})
	}
}

func TestExternalIsTheLocalUser(t *testing.T) {
	t.Parallel()
	r := start(t, Options{})
	c := r.dialAdmin(t)
	who, err := c.WhoAmI(nil)
	want := "dn:gidNumber=" + strconv.Itoa(os.Getgid()) + "+uidNumber=" + strconv.Itoa(os.Getuid()) + ",cn=peercred,cn=external,cn=auth"
	if err != nil || who.AuthzID != want {
		t.Errorf("who am I = %v, %v; want %s", who, err, want)
	}
}
