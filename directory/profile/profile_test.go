package profile

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/schema"
)

func named(t testing.TB, name string) *Profile {
	t.Helper()
	p, err := New(name, Changes{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The searches of the platform, in our names.
const (
	recipient = `(|(mailLocalAddress=ann+tag@example.org)(mailLocalAddress=@example.org)(associatedDomain=example.org))`
	login     = `(&(objectClass=dpMailAccount)(|(uid=a\2ab)(mail=a\2ab)(dpSendAddress=a\2ab)))`
	byName    = `(&(objectClass=dpMailAccount)(|(dpCertSubject=CN=Ann,O=Example$CN=CA,O=Example)))`
	bySerial  = `(&(objectClass=dpMailAccount)(|(dpCertIssuerSerial=0a01$CN=CA,O=Example)))`
	members   = `(|(entryDN=cn=a,dc=example)(entryDN=cn=b,dc=example))`
	groups    = `(&(objectClass=groupOfNames)(|(member=cn=a,dc=example)))`
	admins    = `(&(objectClass=dpAdminRole)(|(dpAdminRight=full)))`
	since     = `(&(modifyTimestamp>=20260101000000Z)(objectClass=groupOfNames))`
)

// What each search is in the words of each server; an empty one is not sent, for it matches nothing.
func TestFilter(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ profile, in, want string }{
		{OpenLDAP, recipient, recipient},
		{DS389, recipient, `(|(mailAlternateAddress=ann+tag@example.org)(mailAlternateAddress=@example.org)(associatedDomain=example.org))`},
		{DS389, login, login},
		{DS389, members, members},
		{DS389, `(objectClass=inetLocalMailRecipient)`, `(objectClass=mailRecipient)`},

		{FreeIPA, recipient, `(|(|(mail=ann+tag@example.org)(mailAlternateAddress=ann+tag@example.org))(|(mail=@example.org)(mailAlternateAddress=@example.org))(associatedDomain=example.org))`},
		{FreeIPA, login, `(&(&(objectClass=posixAccount)(mail=*))(|(uid=a\2ab)(mail=a\2ab)))`},
		{FreeIPA, byName, `(&(&(objectClass=posixAccount)(mail=*))(|(ipaCertMapData=X509:<I>CN=CA,O=Example<S>CN=Ann,O=Example)(ipaCertMapData=X509:<I>O=Example,CN=CA<S>O=Example,CN=Ann)))`},
		{FreeIPA, bySerial, ``},
		{FreeIPA, groups, `(&(objectClass=groupOfNames)(member=cn=a,dc=example))`},
		{FreeIPA, admins, ``},

		{ActiveDirectory, recipient, `(|(|(mail=ann+tag@example.org)(proxyAddresses=smtp:ann+tag@example.org))(|(mail=@example.org)(proxyAddresses=smtp:@example.org)))`},
		{ActiveDirectory, login, `(&(&(objectClass=user)(!(objectClass=computer))(mail=*))(|(|(sAMAccountName=a\2ab)(userPrincipalName=a\2ab))(mail=a\2ab)))`},
		{ActiveDirectory, bySerial, `(&(&(objectClass=user)(!(objectClass=computer))(mail=*))(|(altSecurityIdentities=X509:<I>CN=CA,O=Example<SR>010a)(altSecurityIdentities=X509:<I>O=Example,CN=CA<SR>010a)))`},
		{ActiveDirectory, members, `(|(distinguishedName=cn=a,dc=example)(distinguishedName=cn=b,dc=example))`},
		{ActiveDirectory, groups, `(&(objectClass=group)(member=cn=a,dc=example))`},
		{ActiveDirectory, since, `(&(whenChanged>=20260101000000.0Z)(objectClass=group))`},
		{ActiveDirectory, `(entryUUID=33221100-5544-7766-8899-aabbccddeeff)`, "(objectGUID=\\00\x11\"3DUfw\\88\\99\\aa\\bb\\cc\\dd\\ee\\ff)"},
		{ActiveDirectory, `(objectClass=dpMailDomain)`, ``},
		{ActiveDirectory, `(!(objectClass=dpMailDomain))`, ``},
		{ActiveDirectory, `(objectClass=*)`, `(objectClass=*)`},

		{Qmail, recipient, `(|(|(mail=ann+tag@example.org)(mailAlternateAddress=ann+tag@example.org))(|(mail=@example.org)(mailAlternateAddress=@example.org))(associatedDomain=example.org))`},
		{Qmail, login, `(&(objectClass=qmailUser)(|(uid=a\2ab)(mail=a\2ab)))`},
		{Qmail, groups, `(&(|(objectClass=groupOfNames)(objectClass=qmailGroup))(|(member=cn=a,dc=example)(dnmember=cn=a,dc=example)))`},
	} {
		got, err := named(t, tt.profile).Filter(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: %s\n  is %s, %v\nwant %s", tt.profile, tt.in, got, err, tt.want)
		}
		if got != "" {
			if _, err := ldap.CompileFilter(got); err != nil {
				t.Errorf("%s: %s: %v", tt.profile, got, err)
			}
		}
	}
	for _, in := range []string{`(uid=a*)`, `(uid`, `(uid~=a)`} {
		if got, err := named(t, DS389).Filter(in); err == nil {
			t.Errorf("Filter(%q) = %q, want an error", in, got)
		}
	}
}

// entry makes an entry from "name: value" lines.
func entry(dn, text string) *ldap.Entry {
	values := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		values[name] = append(values[name], value)
	}
	return ldap.NewEntry(dn, values)
}

// What an entry of each server is in our names.
func TestEntry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, profile, in string
		want              map[string][]string
	}{
		{"389-ds", DS389, `
			objectClass: dpMailAccount
			objectClass: mailRecipient
			mailAlternateAddress: ann@example.org
			nsUniqueId: 66446001-1dd211b2-8f3ebb1c-cb4bb0a0
			nsAccountLock: true
			dpAccountStatus: active`,
			map[string][]string{
				schema.AttrObjectClass:      {"dpMailAccount", "mailRecipient", "inetLocalMailRecipient"},
				schema.AttrMailLocalAddress: {"ann@example.org"},
				schema.AttrEntryUUID:        {"66446001-1dd2-11b2-8f3e-bb1ccb4bb0a0"},
				schema.AttrDpAccountStatus:  {"nologin"},
			}},
		{"389-ds: the stricter of two states", DS389, "nsAccountLock: TRUE\ndpAccountStatus: deleted", map[string][]string{schema.AttrDpAccountStatus: {"deleted"}}},
		{"389-ds: not locked", DS389, "nsAccountLock: FALSE\ndpAccountStatus: active", map[string][]string{schema.AttrDpAccountStatus: {"active"}}},
		{"389-ds: the password must be changed", DS389, "pwdReset: TRUE\npasswordExpirationTime: 19700101000000Z", map[string][]string{schema.AttrPwdReset: {"TRUE"}}},
		{"389-ds: it was", DS389, "pwdReset: FALSE\npasswordExpirationTime: 19700101000001Z", map[string][]string{schema.AttrPwdReset: {}}},
		{"389-ds: somebody took that back", DS389, "pwdReset: TRUE", map[string][]string{schema.AttrPwdReset: {}}},
		{"FreeIPA", FreeIPA, `
			objectClass: posixAccount
			objectClass: inetOrgPerson
			uid: ann
			mail: ann@example.org
			mail: a@example.org
			ipaUniqueID: 8b8d4d6a
			ipaCertMapData: X509:<I>O=Example,CN=CA<S>O=Example,CN=Ann`,
			map[string][]string{
				schema.AttrObjectClass:      {"posixAccount", "inetOrgPerson", "dpMailAccount"},
				schema.AttrUid:              {"ann"},
				schema.AttrMailLocalAddress: {"ann@example.org", "a@example.org"},
				schema.AttrDpMailboxId:      {"8b8d4d6a"},
				schema.AttrDpAccountStatus:  {"active"},
				schema.AttrDpMailService:    everything,
				schema.AttrDpCertSubject:    {"O=Example,CN=Ann$O=Example,CN=CA", "CN=Ann,O=Example$CN=CA,O=Example"},
			}},
		{"FreeIPA: of the compat tree", FreeIPA, "objectClass: posixAccount\nuid: ann", map[string][]string{schema.AttrObjectClass: {"posixAccount"}, schema.AttrDpMailService: {}}},
		{"Active Directory", ActiveDirectory, `
			objectClass: user
			sAMAccountName: ann
			userPrincipalName: ann@corp.example
			mail: Ann@example.org
			proxyAddresses: SMTP:ann@example.org
			proxyAddresses: smtp:a.b@example.org
			proxyAddresses: sip:ann@example.org
			userAccountControl: 66048
			objectGUID: ` + "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff" + `
			altSecurityIdentities: X509:<I>DC=org,DC=example,CN=CA<SR>010a
			altSecurityIdentities: X509:<SKI>abcd
			altSecurityIdentities: Kerberos:ann@EXAMPLE`,
			map[string][]string{
				schema.AttrObjectClass:        {"user", "dpMailAccount"},
				schema.AttrUid:                {"ann", "ann@corp.example"},
				schema.AttrMail:               {"Ann@example.org"},
				schema.AttrMailLocalAddress:   {"Ann@example.org", "a.b@example.org"},
				schema.AttrDpAccountStatus:    {"active"},
				schema.AttrEntryUUID:          {"33221100-5544-7766-8899-aabbccddeeff"},
				schema.AttrDpMailboxId:        {"33221100-5544-7766-8899-aabbccddeeff"},
				schema.AttrDpCertIssuerSerial: {"0a01$DC=org,DC=example,CN=CA", "0a01$CN=CA,DC=example,DC=org"},
				schema.AttrDpCertSubject:      {},
			}},
		{"Active Directory: switched off", ActiveDirectory, "objectClass: user\nmail: a@example.org\nuserAccountControl: 514", map[string][]string{schema.AttrDpAccountStatus: {"nologin"}}},
		{"Active Directory: what it is may not be read", ActiveDirectory, "objectClass: user\nmail: a@example.org", map[string][]string{schema.AttrDpAccountStatus: {}}},
		{"Active Directory: a computer", ActiveDirectory, "objectClass: user\nobjectClass: computer\nmail: a@example.org", map[string][]string{schema.AttrObjectClass: {"user", "computer"}}},
		{"Active Directory: a group", ActiveDirectory, "objectClass: group\nmember: cn=a", map[string][]string{schema.AttrObjectClass: {"group", "groupOfNames"}, schema.AttrMember: {"cn=a"}}},
		{"Active Directory: a time", ActiveDirectory, "whenChanged: 20260101000000.0Z", map[string][]string{schema.AttrModifyTimestamp: {"20260101000000.0Z"}}},
		{"qmail", Qmail, `
			objectClass: qmailUser
			mail: ann@example.org
			mailAlternateAddress: a@example.org
			mailForwardingAddress: ann@elsewhere.example
			deliveryMode: nolocal
			mailQuotaSize: 1000
			accountStatus: noaccess`,
			map[string][]string{
				schema.AttrObjectClass:      {"qmailUser", "dpMailAccount"},
				schema.AttrMailLocalAddress: {"ann@example.org", "a@example.org"},
				schema.AttrDpForward:        {"ann@elsewhere.example"},
				schema.AttrDpForwardKeep:    {"FALSE"},
				schema.AttrDpQuotaBytes:     {"1000"},
				schema.AttrDpAccountStatus:  {"nologin"},
			}},
		{"qmail: no state is an account that works", Qmail, "objectClass: qmailUser", map[string][]string{schema.AttrDpAccountStatus: {"active"}}},
		{"qmail: a state nobody knows", Qmail, "objectClass: qmailUser\naccountStatus: odd", map[string][]string{schema.AttrDpAccountStatus: {"suspended"}}},
		{"qmail: a group", Qmail, "objectClass: qmailGroup\ndnmember: cn=a\nrfc822member: b@example.net", map[string][]string{schema.AttrObjectClass: {"qmailGroup", "groupOfNames"}, schema.AttrMember: {"cn=a"}, schema.AttrRfc822MailMember: {"b@example.net"}}},
		{"no translation", OpenLDAP, "objectClass: dpMailAccount\nproxyAddresses: x", map[string][]string{schema.AttrObjectClass: {"dpMailAccount"}, "proxyAddresses": {"x"}}},
	} {
		got := named(t, tt.profile).Entry(entry("cn=x", tt.in))
		for attr, want := range tt.want {
			if have := got.GetEqualFoldAttributeValues(attr); !slices.Equal(have, want) {
				t.Errorf("%s: %s = %q, want %q", tt.name, attr, have, want)
			}
		}
	}
}

// A list of attributes is asked for in the server's words, and what a class rests on along with the class.
func TestAttributes(t *testing.T) {
	t.Parallel()
	in := []string{"objectClass", "mailLocalAddress", "dpQuotaBytes", "cACertificate;binary"}
	for profile, want := range map[string][]string{
		OpenLDAP:        in,
		DS389:           {"objectClass", "mailAlternateAddress", "dpQuotaBytes", "cACertificate;binary"},
		ActiveDirectory: {"objectClass", "mail", "proxyAddresses", "cACertificate;binary"},
	} {
		if got := named(t, profile).Attributes(in); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", profile, got, want)
		}
	}
	if got := named(t, DS389).Attributes(nil); len(got) != 0 {
		t.Errorf("no list, which means all, asks for %q", got)
	}
	if got := named(t, ActiveDirectory).Attributes([]string{"dpQuotaBytes"}); !slices.Equal(got, []string{"1.1"}) {
		t.Errorf("a list of what the server lacks asks for %q", got)
	}
}

// Changes are written to where the values are as they are.
func TestWrite(t *testing.T) {
	t.Parallel()
	p := named(t, DS389)
	req := ldap.NewAddRequest("cn=x", nil)
	req.Attribute("objectClass", []string{"inetLocalMailRecipient", "person"})
	req.Attribute("mailLocalAddress", []string{"a@example.org"})
	req.Attribute("dpAccountStatus", []string{"active"})
	var got []string
	for _, a := range p.Add(req).Attributes {
		got = append(got, a.Type+"="+strings.Join(a.Vals, ","))
	}
	want := []string{"objectClass=mailRecipient,person", "mailAlternateAddress=a@example.org", "dpAccountStatus=active"}
	if !slices.Equal(got, want) {
		t.Errorf("Add() = %q, want %q", got, want)
	}
	mod := ldap.NewModifyRequest("cn=x", nil)
	mod.Add("mailLocalAddress", []string{"b@example.org"})
	mod.Replace("pwdReset", nil)
	mod.Replace("pwdReset", []string{"TRUE"}) // which only the server can say
	changes := p.Modify(mod).Changes
	if len(changes) != 2 || changes[0].Modification.Type != "mailAlternateAddress" || changes[1].Modification.Type != "passwordExpirationTime" || len(changes[1].Modification.Vals) != 0 {
		t.Errorf("Modify() = %+v", changes)
	}
}

// A site changes a profile by its own words.
func TestChanges(t *testing.T) {
	t.Parallel()
	p, err := New(ActiveDirectory, Changes{
		Attributes: map[string]string{"dpQuotaBytes": "msExchQuota", "MAILLOCALADDRESS": "proxyAddresses smtp:", "rfc822MailMember": "extensionAttribute1, extensionAttribute2"},
		Classes:    map[string]string{"dpMailAccount": "user !computer proxyAddresses=*, contact"},
		Defaults:   map[string][]string{"dpMailService": {"imap"}, "dpRevocationCheck": {"none"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Filter(`(&(objectClass=dpMailAccount)(mailLocalAddress=a@example.org))`); err != nil ||
		got != `(&(|(&(objectClass=user)(!(objectClass=computer))(proxyAddresses=*))(objectClass=contact))(proxyAddresses=smtp:a@example.org))` {
		t.Errorf("Filter() = %s, %v", got, err)
	}
	e := p.Entry(entry("cn=x", "objectClass: contact\nmsExchQuota: 7"))
	if q, s, r := e.GetAttributeValue("dpQuotaBytes"), e.GetAttributeValues("dpMailService"), e.GetAttributeValue("dpRevocationCheck"); q != "7" || !slices.Equal(s, []string{"imap"}) || r != "" {
		t.Errorf("quota %q, services %q, revocation %q; want 7, imap and nothing, for it is no authority", q, s, r)
	}
	if e := p.Entry(entry("cn=x", "objectClass: certificationAuthority")); e.GetAttributeValue("dpRevocationCheck") != "none" {
		t.Errorf("an authority has no default: %v", e)
	}
	same, err := New(ActiveDirectory, Changes{})
	if err != nil || same.Version() != named(t, ActiveDirectory).Version() || same.Version() == p.Version() || named(t, OpenLDAP).Version() != OpenLDAP {
		t.Errorf("versions %s, %s and %s, %v", same.Version(), p.Version(), named(t, OpenLDAP).Version(), err)
	}
	for _, c := range []Changes{
		{Attributes: map[string]string{"dpQotaBytes": "x"}},
		{Attributes: map[string]string{"dpQuotaBytes": ""}},
		{Attributes: map[string]string{"dpQuotaBytes": "x nonsense"}},
		{Attributes: map[string]string{"dpQuotaBytes": "x y: z"}},
		{Attributes: map[string]string{"dpQuotaBytes": "x)(uid=*"}},
		{Classes: map[string]string{"dpMailAccount": "mail=*"}},
		{Classes: map[string]string{"dpMailAccount": "user computer"}},
		{Classes: map[string]string{"dpMailAcount": "user"}},
		{Defaults: map[string][]string{"dpMailServices": {"imap"}}},
	} {
		if _, err := New(ActiveDirectory, c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, err := New("netscape", Changes{}); err == nil || !strings.Contains(err.Error(), "389ds, ad, embedded, freeipa, openldap, qmail") {
		t.Errorf("an unknown profile: %v", err)
	}
}

// Whatever a filter of ours asks for, what comes out is a filter or nothing.
func FuzzFilter(f *testing.F) {
	for _, in := range []string{recipient, login, byName, bySerial, members, groups, since} {
		f.Add(in)
	}
	var all []*Profile
	for _, name := range Names() {
		all = append(all, named(f, name))
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, p := range all {
			out, err := p.Filter(in)
			if err != nil || out == "" || p.Same() {
				continue
			}
			if _, err := ldap.CompileFilter(out); err != nil {
				t.Errorf("%s: %q became %q: %v", p.Name(), in, out, err)
			}
		}
	})
}

// Values of mappings come from the directory, where many may write them.
func FuzzCodec(f *testing.F) {
	f.Add("X509:<I>O=Example,CN=CA<S>O=Example,CN=Ann")
	f.Add("X509:<I>DC=org,DC=example,CN=CA<SR>010a")
	f.Fuzz(func(t *testing.T, in string) {
		if in == "" {
			return // read leaves those out
		}
		for name, c := range codecs {
			for _, v := range c.decode(in) {
				if v == "" {
					t.Errorf("%s: %q is read as an empty value", name, in)
				}
				if c.encode != nil && name != "time" && len(c.encode(v)) == 0 {
					t.Errorf("%s: %q is read as %q, which cannot be searched for", name, in, v)
				}
			}
		}
	})
}
