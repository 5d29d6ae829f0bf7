package dit_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

const (
	fingerprint = "762cc4aa86fff8d361c1c139c7631075f92e28e6bb98b117969ef9eb67562ad7" // of alice
	unknownHash = "0000000000000000000000000000000000000000000000000000000000000000"
	issuer      = "CN=Example Class 3 Root,OU=Client certificates,O=Example Association"
	entire      = "(objectClass=*)"
	stored      = "{CRYPT}$6$saltsalt$sLdNfTiWnhQFG.mTcbFNokHNSMlo//VjOnMla6SZBdunP4My1YsZ7PUzm1dAf/bfu8qtBDQQscrgX3FkTWsML0"
)

// referenceChecks are all of them, in order: h3 is last, for it locks bob out.
func referenceChecks() []check {
	return slices.Concat(recipientChecks(), certificateChecks(), anonymousChecks(), operatorChecks(), holderChecks(), passwordChecks(),
		uniqueChecks(), addressChecks(), protectedChecks(), auditChecks(), fullChecks(), appPasswordChecks(), proxyChecks(), outsideChecks(), overlayChecks())
}

// route is the one search for a recipient.
func route(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	plain, _, _ := strings.Cut(local, "+")
	return fmt.Sprintf("(|(mailLocalAddress=%s)(mailLocalAddress=%s@%s)(mailLocalAddress=@%s)(&(objectClass=dpMailDomain)(associatedDomain=%s)))",
		address, plain, domain, domain, domain)
}

func recipientChecks() []check {
	to := func(id, address, want string) check { return sees(id, "frontend", base, route(address), want) }
	return []check{
		to("a1-user", "alice@example.org", "dn: uid=alice,"),
		to("a2-case", "ALICE.Adler@EXAMPLE.org", "dn: uid=alice,"),
		to("a3-detail", "alice+lists@example.org", "dn: uid=alice,"),
		to("a4-alias", "security-inbox@example.org", "dpMailboxId: m-0001"),
		to("a5-role", "pr@example.org", "roleOccupant: uid=bob"),
		to("a6-group", "board@example.org", "rfc822MailMember: auditor@example.net"),
		to("a7-route", "support@example.org", "mailRoutingAddress: support@issue.example.org"),
		to("a8-listhost", "anything@lists.example.org", "dpTransport: smtp:lists.internal"),
		to("a9-folder", "minutes@example.org", "dpFolderName: Association/Minutes"),
		misses("a10-unknown", "frontend", base, route("nobody@example.org"), "^dn: (uid|cn)="),
		to("a11-bothreturned", "alice@example.org", "dn: associatedDomain=example.org"),
	}
}

func certificateChecks() []check {
	by := func(id, filter, want string) check { return sees(id, "frontend", people, filter, want, "uid") }
	return []check{
		by("b1-fingerprint", "(&(objectClass=dpMailAccount)(dpCertSHA256="+fingerprint+"))", "uid: alice"),
		by("b2-exact-gser", `(userCertificate:certificateExactMatch:={ serialNumber 461098329363003161444364, issuer rdnSequence:"`+issuer+`" })`, "uid: alice"),
		by("b3-exact-eq", `(userCertificate={ serialNumber 4098, issuer rdnSequence:"cn=example class 3 root,ou=Client Certificates,o=Example Association" })`, "uid: bob"),
		by("b4-issuerserial", "(dpCertIssuerSerial=61a430c600000000000c$"+issuer+")", "uid: alice"),
		by("b5-all-kinds", "(|(dpCertSHA256="+unknownHash+")(dpCertEmail=bob.brandt@example.org))", "uid: bob"),
		misses("b6-unknown", "frontend", people, "(dpCertSHA256="+unknownHash+")", "uid"),
	}
}

func anonymousChecks() []check {
	all := func(id, form string) check { return misses(id, "", base, entire, form, "*", "+") }
	return []check{
		sees("c1-listed", "", base, entire, "dn: uid=alice", "*", "+"),
		sees("c2-cert", "", base, entire, "userCertificate;binary: ", "*", "+"),
		all("c3-not-listed", "uid=bob,ou=people"),
		all("c4-no-private", "^(dp[A-Z]|userPassword|memberOf|uid:|mailLocalAddress|telephoneNumber|pwd|entryUUID)"),
		misses("c5-probe-hidden", "", base, "(mail=bob.brandt@example.org)", "dn:"),
		misses("c6-probe-attr", "", base, "(dpQuotaBytes>=0)", "dn:"),
		misses("c7-probe-hash", "", base, "(userPassword=*)", "dn:"),
		sees("c8-ca-crl", "", "ou=authorities,"+base, "(objectClass=pkiCA)", "certificateRevocationList;binary: ", "certificateRevocationList;binary"),
		sees("c9-role", "", base, entire, "dn: cn=press"),
		all("c10-no-admin-groups", "mail-admins,ou=groups"),
	}
}

func operatorChecks() []check {
	alice, carol := name("alice"), name("carol")
	return []check{
		ends("d1-resets-alice", done, set("bob", alice, "userPassword", "newalicepw1")),
		ends("d2-alice-logs-in", done, changes("alice", "newalicepw1")),
		ends("d3-not-admin", refused, set("bob", carol, "userPassword", "hackhackhack")),
		ends("d4-not-mail", refused, set("bob", alice, "mail", "x@example.org")),
		ends("d5-not-quota", refused, set("bob", alice, "dpQuotaBytes", "1")),
		ends("d6-not-group", refused, put("bob", "cn=mail-admins,"+groups, "member", name("bob"))),
		ends("d7-not-cert", refused, put("bob", carol, "dpCertSHA256", fmt.Sprintf("%064d", 7))),
		{"d7b-unique-oracle", func(w *world) string {
			want := ldap.LDAPResultInsufficientAccessRights
			if w.slapd { // whose overlay comes before the rules
				want = ldap.LDAPResultConstraintViolation
			}
			return ends("", []int{want}, put("bob", carol, "dpCertSHA256", fingerprint)).do(w)
		}},
		ends("d8-not-service", refused, set("bob", name("webmail"), "userPassword", "hackhackhack")),
		ends("d9-no-rename", refused, func(w *world) error {
			return w.as("bob").ModifyDN(ldap.NewModifyDNRequest(alice, "uid=mallory", true, ""))
		}),
		misses("d10-cannot-read-hash", "bob", alice, entire, "userPassword:", "userPassword"),
		ends("d11-admin-status", done, set("carol", name("bob"), "dpQuotaBytes", "2147483648")),
		ends("d12-admin-own-entry", done, set("carol", carol, "dpQuotaBytes", "2147483648")),
	}
}

func holderChecks() []check {
	alice := name("alice")
	out := []check{
		ends("e0-after-reset-only-password", []int{ldap.LDAPResultInsufficientAccessRights}, set("alice", alice, "dpPublicListing", "FALSE")),
		ends("e4-own-pw", done, changes("alice", "thirdalicepw", set("alice", alice, "userPassword", "thirdalicepw"))),
		ends("e1-optout", done, set("alice", alice, "dpPublicListing", "FALSE")),
		misses("e2-gone", "", base, "(objectClass=inetOrgPerson)", "uid=alice"),
		ends("e3-optin", done, set("alice", alice, "dpPublicListing", "TRUE")),
	}
	for _, c := range [][2]string{
		{"mail", "x@example.org"}, {"mailLocalAddress", "x@example.org"}, {"dpSendAddress", "x@example.org"}, {"dpQuotaBytes", "5"},
		{"dpAccountStatus", "suspended"}, {"dpMailService", "admin"}, {"dpCertSHA256", fingerprint}, {"dpArchiveConsent", "FALSE"},
		{"dpRetentionDays", "5"}, {"cn", "x@example.org"}, {"dpMailboxId", "x@example.org"},
	} {
		out = append(out, ends("e5-not-"+c[0], []int{ldap.LDAPResultInsufficientAccessRights}, set("alice", alice, c[0], c[1])))
	}
	return append(out,
		ends("e6-not-others", refused, set("alice", name("bob"), "dpPublicListing", "TRUE")),
		ends("e7-not-others-pw", refused, set("alice", name("bob"), "userPassword", "hackhackhack")),
		misses("e8-sees-no-hash", "alice", alice, entire, "userPassword:", "userPassword"),
		ends("e9-service-keeps-its-password", refused, set("frontend", name("frontend"), "userPassword", "hackhackhack")))
}

func passwordChecks() []check {
	return []check{
		ends("f1-self", done, changes("alice", "fourthalicepw", func(w *world) error {
			_, err := w.as("alice").PasswordModify(ldap.NewPasswordModifyRequest("", "thirdalicepw", "fourthalicepw"))
			return err
		})),
		ends("f2-operator-generated", done, func(w *world) error {
			result, err := w.as("bob").PasswordModify(ldap.NewPasswordModifyRequest(name("alice"), "", ""))
			if err != nil {
				return err
			}
			return changes("alice", result.GeneratedPassword)(w)
		}),
		{"f3-mustchange-control", func(w *world) string {
			result, policy := w.bind("alice", w.passwords["alice"])
			if result != 0 || policy == nil || policy.Error != 2 {
				return fmt.Sprintf("result %d, control %v, want 0 and changeAfterReset", result, policy)
			}
			return ""
		}},
		ends("f4-operator-not-admin", refused, reset("bob", "carol", "hackhackhack")),
		ends("f5-short", []int{ldap.LDAPResultConstraintViolation}, reset("alice", "alice", "short")),
		ends("f6-self-after-reset", done, changes("alice", "sixthalicepw", reset("alice", "alice", "sixthalicepw"))),
		ends("f7-current-pw", done, changes("alice", "sixthalicepw")),
	}
}

func uniqueChecks() []check {
	taken := []int{ldap.LDAPResultConstraintViolation}
	bob := name("bob")
	return []check{
		ends("g1-dup-address", taken, put("carol", bob, "mailLocalAddress", "alice@example.org")),
		ends("g2-dup-role", taken, put("carol", bob, "mailLocalAddress", "PR@example.org")),
		ends("g3-dup-cert", taken, put("carol", bob, "dpCertSHA256", fingerprint)),
		ends("g4-dup-new", taken, func(w *world) error {
			req := ldap.NewAddRequest("cn=x,ou=routes,"+base, nil)
			req.Attribute("objectClass", []string{"applicationProcess", "inetLocalMailRecipient"})
			req.Attribute("cn", []string{"x"})
			req.Attribute("mailLocalAddress", []string{"alice@example.org"})
			return w.as("carol").Add(w.names.Add(req))
		}),
		ends("g5-own-ok", done, put("carol", bob, "mailLocalAddress", "bobby@example.org")),
		ends("g6-syntax", []int{ldap.LDAPResultConstraintViolation, ldap.LDAPResultInvalidAttributeSyntax}, put("carol", bob, "mailLocalAddress", "two words")),
		ends("g7-fp-format", taken, put("carol", bob, "dpCertSHA256", "AB:CD")),
	}
}

func addressChecks() []check {
	alice, gina, frank := name("alice"), name("gina"), name("frank")
	out := []check{
		ends("i1-address-alias", done, put("dave", alice, "mailLocalAddress", "alice2@example.org")),
		ends("i1-address-sender", done, put("dave", alice, "dpSendAddress", "alice2@example.org")),
		ends("i1-address-grant", done, put("dave", gina, "dpSendGrant", alice)),
		ends("i1-address-forward", done, put("dave", gina, "dpForward", "gina@elsewhere.example")),
		ends("i1-address-keep", done, put("dave", gina, "dpForwardKeep", "FALSE")),
		ends("i1-address-group", done, put("dave", "cn=board,"+groups, "mailLocalAddress", "vorstand@example.org")),
		ends("i1-address-role", done, put("dave", "cn=press,"+roles, "mailLocalAddress", "media@example.org")),
		ends("i1-address-role-grant", done, put("dave", "cn=press,"+roles, "dpSendGrant", gina)),
		sees("i1-address-finds-person", "dave", people, "(uid=gina)", "mailLocalAddress: gina", "mailLocalAddress"),
		sees("i1-address-finds-group", "dave", base, "(&(cn=board)(mailLocalAddress=vorstand@example.org))", "mail: board@", "mail"),
	}
	for _, who := range []string{"carol", "frank", "bob", "dave"} {
		out = append(out, ends("i2-address-not-protected-"+who, refused, put("dave", name(who), "mailLocalAddress", "x-"+who+"@example.org")))
	}
	for _, attr := range []string{"dpSendAddress", "dpForward"} {
		out = append(out, ends("i2-address-not-protected-"+attr, refused, put("dave", frank, attr, "x@example.org")))
	}
	out = append(out,
		ends("i2-address-not-protected-grant", refused, put("dave", frank, "dpSendGrant", name("dave"))),
		ends("i2-address-not-protected-role", refused, put("dave", "cn=postmaster,"+roles, "mailLocalAddress", "hostmaster@example.org")),
		ends("i2-address-not-right-group", refused, put("dave", "cn=mail-admins,"+groups, "dpSendGrant", name("dave"))),
		ends("i2-address-not-route", refused, put("dave", "cn=issue tracker,ou=routes,"+base, "mailLocalAddress", "help@example.org")),
		ends("i2-address-not-member", refused, put("dave", "cn=board,"+groups, "member", name("dave"))),
		ends("i2-address-not-occupant", refused, put("dave", "cn=press,"+roles, "roleOccupant", name("dave"))))
	for _, c := range [][2]string{{"mail", "x@example.org"}, {"dpQuotaBytes", "5"}, {"dpAccountStatus", "suspended"}, {"dpProtected", "TRUE"}, {"dpArchiveConsent", "TRUE"}} {
		out = append(out, ends("i2-address-not-"+c[0], refused, set("dave", gina, c[0], c[1])))
	}
	return append(out,
		ends("i2-address-not-password", refused, reset("dave", "gina", "hackhackhack")),
		ends("i2-address-not-create", refused, func(w *world) error {
			req := ldap.NewAddRequest("cn=x,"+groups, nil)
			req.Attribute("objectClass", []string{"groupOfNames"})
			req.Attribute("cn", []string{"x"})
			req.Attribute("member", []string{name("dave")})
			return w.as("dave").Add(w.names.Add(req))
		}),
		ends("i3-reset-not-address", refused, put("bob", gina, "mailLocalAddress", "x@example.org")),
		ends("i3-reset-not-forward", refused, put("bob", gina, "dpForward", "x@example.org")))
}

func protectedChecks() []check {
	gina, frank := name("gina"), name("frank")
	var out []check
	for _, who := range []string{"frank", "erin", "dave", "carol"} {
		out = append(out, ends("i4-operator-not-"+who, refused, reset("bob", who, "hackhackhack")))
	}
	out = append(out, ends("i4-frank-pw-unchanged", done, changes("frank", "frankpw")))
	for _, c := range [][2]string{{"BO", "bob"}, {"DA", "dave"}, {"ER", "erin"}, {"FR", "frank"}, {"FE", "frontend"}, {"AP", "apppw"}, {"WE", "web"}} {
		out = append(out, ends("i4-"+c[0]+"-not-unprotect", refused, set(c[1], frank, "dpProtected", "FALSE")))
	}
	return append(out,
		ends("i4-self-not-protect", refused, put("alice", name("alice"), "dpProtected", "TRUE")),
		ends("i4-admin-protects", done, set("carol", gina, "dpProtected", "TRUE")),
		ends("i4-protected-now", refused, reset("bob", "gina", "hackhackhack")),
		ends("i4-protected-now-address", refused, put("dave", gina, "mailLocalAddress", "x@example.org")),
		ends("i4-admin-unprotects", done, drop("carol", gina, "dpProtected")),
		ends("i4-reset-again", done, func(w *world) error {
			if err := changes("gina", "newginapw1", reset("bob", "gina", "newginapw1"))(w); err != nil {
				return err
			}
			return changes("gina", "secondginapw", reset("gina", "gina", "secondginapw"))(w)
		}))
}

func auditChecks() []check {
	all := func(id, want string) check { return sees(id, "erin", base, entire, want, "*", "+") }
	out := []check{
		all("i5-audit-reads-quota", "dpQuotaBytes: 5368709120"), all("i5-audit-reads-rights", "dpAdminRight: escrow-open"),
		all("i5-audit-reads-routes", "mailRoutingAddress:"), all("i5-audit-reads-unlisted", "dn: uid=bob,ou=people"),
		all("i5-audit-reads-proxy-rights", "authzTo:"), all("i5-audit-reads-groups", "dn: cn=mail-admins,ou=groups"),
		misses("i5-audit-no-hash", "erin", base, entire, "^(userPassword|pwdHistory|dpAppPassword)", "*", "+"),
		misses("i5-audit-no-probe", "erin", base, "(|(userPassword=*)(dpAppPassword=*)(pwdHistory=*))", "dn:"),
	}
	for _, c := range [][2]string{{"dpQuotaBytes", "5"}, {"mailLocalAddress", "x@example.org"}, {"dpPublicListing", "TRUE"}, {"dpAccountStatus", "suspended"}, {"dpForward", "x@example.org"}} {
		out = append(out, ends("i5-audit-not-write-"+c[0], refused, set("erin", name("alice"), c[0], c[1])))
	}
	return append(out,
		ends("i5-audit-not-reset", refused, reset("erin", "gina", "hackhackhack")),
		sees("i6-escrow-own-entry", "frank", base, entire, "dn: uid=frank,", "*", "+"),
		misses("i6-escrow-no-more", "frank", base, entire,
			"^dn: (uid=(bob|gina|dave|erin)|cn=(mail-admins|frontend|issue))|^roleOccupant|^dpArchiveConsent|^mailRoutingAddress", "*", "+"),
		ends("i6-escrow-not-consent", refused, set("frank", name("alice"), "dpArchiveConsent", "TRUE")),
		ends("i6-escrow-not-reset", refused, reset("frank", "gina", "hackhackhack")),
		ends("i6-escrow-not-address", refused, put("frank", name("gina"), "mailLocalAddress", "x@example.org")))
}

func fullChecks() []check {
	return []check{
		ends("i7-full-rights", done, put("carol", "cn=auditors,"+groups, "member", name("frank"))),
		ends("i7-full-resets-protected", done, changes("frank", "newfrankpw", reset("carol", "frank", "newfrankpw"))),
		ends("i7-full-address-protected", done, put("carol", name("frank"), "mailLocalAddress", "ff@example.org")),
		misses("i7-full-no-hash", "carol", base, entire, "^(userPassword|pwdHistory|dpAppPassword)", "*", "+"),
		ends("i7-full-not-authzto", refused, put("carol", name("webmail"), "authzTo", "dn:"+name("frontend"))),
	}
}

func appPasswordChecks() []check {
	const attr, evil = "dpAppPassword", "evil$imap$$$" + stored
	alice, gina := name("alice"), name("gina")
	out := []check{
		sees("j1-frontend-verifies", "frontend", gina, entire, "dpAppPassword: phone$imap", attr),
		ends("j2-service-makes", done, put("apppw", alice, attr, "tablet$imap$192.0.2.0/24$$"+stored)),
		ends("j2-service-makes-for-gina", done, put("apppw", gina, attr, "laptop$imap$$$"+stored)),
		ends("j3-service-removes", done, drop("apppw", gina, attr, "laptop$imap$$$"+stored)),
		ends("j4-form", []int{ldap.LDAPResultConstraintViolation}, put("apppw", alice, attr, "no dollar signs")),
	}
	for _, c := range [][2]string{{"self", "alice"}, {"frontend", "frontend"}, {"admin", "carol"}, {"reset", "bob"}, {"address", "dave"}, {"audit", "erin"}, {"web", "web"}} {
		out = append(out, ends("j5-"+c[0]+"-cannot-make", refused, put(c[1], alice, attr, evil)))
	}
	out = append(out, ends("j5-self-cannot-remove", refused, drop("alice", alice, attr)))
	for _, c := range [][2]string{{"self", "alice"}, {"admin", "carol"}, {"reset", "bob"}, {"address", "dave"}, {"audit", "erin"}, {"web", "web"}, {"service", "apppw"}, {"webmail", "webmail"}} {
		out = append(out,
			misses("j6-"+c[0]+"-cannot-read", c[1], base, "(|(objectClass=*)(dpAppPassword=*))", "^dpAppPassword", "*", attr),
			misses("j6-"+c[0]+"-cannot-probe", c[1], base, "(dpAppPassword=*)", "dn:"))
	}
	out = append(out, misses("j6-anonymous-cannot-read", "", base, entire, "^dpAppPassword", "*", attr))
	for _, c := range [][2]string{{"userPassword", "x@example.org"}, {"dpQuotaBytes", "5"}, {"dpAccountStatus", "active"}, {"mailLocalAddress", "x@example.org"}, {"dpAuthPolicy", "either"}} {
		out = append(out, ends("j7-service-not-"+c[0], refused, set("apppw", gina, c[0], c[1])))
	}
	yves := func(more ...string) func(w *world) error {
		return func(w *world) error {
			req := ldap.NewAddRequest("uid=yves,"+people, nil)
			req.Attribute("objectClass", []string{"inetOrgPerson", "dpMailAccount"})
			for _, a := range [][2]string{{"uid", "yves"}, {"cn", "Y"}, {"sn", "Y"}, {"dpAccountStatus", "active"}, {"userPassword", "longenoughpw"}} {
				req.Attribute(a[0], []string{a[1]})
			}
			if len(more) > 0 {
				req.Attribute(attr, more)
			}
			return w.as("carol").Add(w.names.Add(req))
		}
	}
	return append(out,
		ends("j8-admin-not-by-add", refused, yves(evil)),
		ends("j8-admin-adds-without", done, yves()),
		ends("j9-admin-revokes", done, drop("carol", gina, attr)))
}

// proxied is the control of RFC 4370.
func proxied(dn string) []ldap.Control {
	return []ldap.Control{ldap.NewControlString("2.16.840.1.113730.3.4.18", true, "dn:"+dn)}
}

func whoAmI(who, as string) func(w *world) error {
	return func(w *world) error {
		result, err := w.as(who).WhoAmI(proxied(as))
		if err == nil && !strings.EqualFold(result.AuthzID, "dn:"+as) {
			return fmt.Errorf("is %s", result.AuthzID)
		}
		return err
	}
}

func proxyChecks() []check {
	alice := name("alice")
	as := func(id, from, filter, want, not string, attrs ...string) check {
		return check{id, func(w *world) string {
			got, result := w.lines("web", from, filter, ldap.ScopeWholeSubtree, proxied(alice), attrs...)
			has := func(prefix string) bool {
				return prefix != "" && slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, prefix) })
			}
			if want != "" && !has(want) || has(not) {
				return fmt.Sprintf("result %d and %q", result, got)
			}
			return ""
		}}
	}
	out := []check{
		ends("k1-web-is-alice", done, whoAmI("web", alice)),
		as("k2-web-reads-as-alice", alice, entire, "dpQuotaBytes:", "", "dpQuotaBytes"),
		misses("k3-web-alone-reads-nothing", "web", base, entire, "^(dp[A-Z]|mailLocalAddress|roleOccupant)|^dn: uid=bob", "*"),
		as("k3-as-alice-not-bob", people, "(uid=bob)", "", "dn:", "*"),
		ends("k4-web-writes-as-alice", done, modify(ldap.ReplaceAttribute, "web", alice, "dpPublicListing", proxied(alice), "TRUE")),
		ends("k4-web-alone-writes-nothing", refused, set("web", alice, "dpPublicListing", "TRUE")),
		ends("k4-as-alice-not-quota", refused, modify(ldap.ReplaceAttribute, "web", alice, "dpQuotaBytes", proxied(alice), "9")),
		ends("k4-as-alice-not-app-password", refused, modify(ldap.AddAttribute, "web", alice, "dpAppPassword", proxied(alice), "evil$imap$$$"+stored)),
	}
	denied := []int{ldap.LDAPResultAuthorizationDenied, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultInappropriateAuthentication}
	for _, to := range []string{name("frontend"), name("apppw"), "cn=root," + base, "cn=mail-admins," + groups} {
		rdn, _, _ := strings.Cut(to, ",")
		out = append(out, ends("k5-web-not-"+rdn, denied, whoAmI("web", to)))
	}
	return append(out,
		ends("k6-alice-not-bob", denied, whoAmI("alice", name("bob"))),
		ends("k6-frontend-not-alice", denied, whoAmI("frontend", alice)),
		ends("k6-admin-not-alice", denied, whoAmI("carol", alice)),
		ends("k6-anonymous-not-alice", denied, whoAmI("", alice)))
}

func overlayChecks() []check {
	zed := "uid=zed," + people
	out := []check{
		sees("h1-memberof", "frontend", people, "(memberOf=cn=mail-admins,"+groups+")", "dn: uid=carol", "memberOf"),
		ends("h2-unauth-bind", []int{ldap.LDAPResultUnwillingToPerform}, func(w *world) error { return w.dial().UnauthenticatedBind(name("alice")) }),
		ends("h4-service-not-locked", done, func(w *world) error {
			for range 7 {
				w.bind("frontend", "wrong")
			}
			return changes("frontend", "frontendpw")(w)
		}),
		{"h5-refint", func(w *world) string {
			req := ldap.NewAddRequest(zed, nil)
			for _, a := range [][2]string{{"objectClass", "inetOrgPerson"}, {"uid", "zed"}, {"cn", "Z"}, {"sn", "Z"}} {
				req.Attribute(a[0], []string{a[1]})
			}
			for _, step := range []func(*world) error{
				func(w *world) error { return w.as("carol").Add(w.names.Add(req)) },
				put("carol", "cn=board,"+groups, "member", zed), put("carol", "cn=press,"+roles, "dpSendGrant", zed),
				func(w *world) error { return w.as("carol").Del(ldap.NewDelRequest(zed, nil)) },
			} {
				if err := step(w); err != nil {
					return err.Error()
				}
			}
			return eventually(func() string {
				return misses("", "frontend", base, "(|(member="+zed+")(dpSendGrant="+zed+"))", "dn:").do(w)
			})
		}},
		sees("h6-sendas-role", "frontend", base, "(|(mail=pr@example.org)(dpSendAddress=pr@example.org))", "dpSendGrant: uid=alice", "dpSendGrant"),
		sees("h7-root-dn-sees-old-hashes", "root", name("alice"), entire, "pwdHistory:", "pwdHistory"),
	}
	for _, who := range []string{"frontend", "alice", "carol", "erin", "apppw", "web", ""} {
		out = append(out, misses("h7-no-old-hashes", who, base, entire, "^pwdHistory", "*", "pwdHistory", "+"))
	}
	return append(out, check{"h3-lockout-looks-like-bad-pw", func(w *world) string {
		for range 6 {
			w.bind("bob", "wrong")
		}
		result, policy := w.bind("bob", "bobpw")
		if result != ldap.LDAPResultInvalidCredentials || policy != nil && policy.Error >= 0 {
			return fmt.Sprintf("result %d, control %v", result, policy)
		}
		return sees("", "root", name("bob"), entire, "pwdAccountLockedTime:", "+").do(w)
	}})
}
