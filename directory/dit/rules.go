package dit

import "github.com/dirpost/dirpost/schema"

// Where the rules hold.
var (
	inTree       = []region{{WholeSubtree, ""}}
	ofPeople     = []region{{SingleLevel, "ou=people"}}
	ofRecipients = []region{{SingleLevel, "ou=people"}, {SingleLevel, "ou=groups"}, {SingleLevel, "ou=roles"}}
)

// Who has rights. The last five are the values of dpAdminRight; escrow-open gives none in the directory.
var (
	anyone    = who{kind: anyoneWho}
	anonymous = who{kind: anonymousWho}
	self      = who{kind: selfWho}
	frontend  = who{entryWho, "cn=frontend,ou=services"}
	appPw     = who{entryWho, "cn=apppw,ou=services"}

	admins           = who{rightWho, "full"}
	passwordOperator = who{rightWho, "password-reset"}
	addressOperator  = who{rightWho, "address"}
	auditor          = who{rightWho, "audit"}
)

// The conditions. What is protected belongs to somebody who holds a right himself: operators keep off.
var (
	protected = &condition{holds: func(v *view) bool { return v.says(schema.AttrDpProtected, "TRUE") }}
	ordinary  = &condition{holds: func(v *view) bool {
		return !v.says(schema.AttrDpProtected, "TRUE") && !v.says(schema.AttrObjectClass, schema.ClassDpAdminRole)
	}}
	listed = &condition{flag: schema.AttrDpPublicListing, holds: func(v *view) bool {
		return v.says(schema.AttrDpPublicListing, "TRUE") && v.active()
	}}
)

// accessRules are the rights of everybody but the local administrator, who has all. The root DSE and cn=Subschema are
// outside: everybody reads them. They are the rules of the reference configuration of slapd, in its order; where that
// names a group, these name the right that the group gives. What slapd needs to ask itself, when it maps a certificate or
// an authorization identity to an entry, is not in: nobody else can tell the difference.
var accessRules = []rule{
	{
		name:  "a protected password is set by its holder and by administrators",
		where: ofPeople, only: protected,
		attrs: []string{schema.AttrUserPassword},
		by:    []grant{{self, settable | auth}, {admins, settable}, {anonymous, provable}},
	},
	{
		name:  "a person's password is set by its holder, and by password operators too",
		where: ofPeople,
		attrs: []string{schema.AttrUserPassword},
		by:    []grant{{self, settable | auth}, {admins, settable}, {passwordOperator, settable | manage}, {anonymous, provable}},
	},
	{
		name:  "other passwords are set by administrators, and no password is read by anybody",
		attrs: []string{schema.AttrUserPassword},
		by:    []grant{{admins, settable}, {anonymous, provable}},
	},
	{
		name:  "old passwords are passwords",
		attrs: []string{schema.AttrPwdHistory},
	},
	{
		name:  "the frontend verifies app passwords, one service makes them, administrators take them away",
		attrs: []string{schema.AttrDpAppPassword},
		by:    []grant{{frontend, readable}, {appPw, settable}, {admins, remove}},
	},
	{
		name:  "who may act as whom is decided by the local administrator",
		attrs: []string{schema.AttrAuthzTo, schema.AttrAuthzFrom},
		by:    []grant{{auditor, readable}},
	},
	{
		name:  "the right address: who receives where and sends as what",
		where: ofRecipients, only: ordinary,
		attrs: []string{
			schema.AttrMailLocalAddress, schema.AttrDpSendAddress, schema.AttrDpSendGrant, schema.AttrDpForward, schema.AttrDpForwardKeep,
		},
		by: []grant{{admins, writable}, {addressOperator, writable}, {self, readable}, {frontend, readable}, {auditor, readable}},
	},
	{
		name:  "people decide whether they are listed, and with what",
		where: ofPeople,
		attrs: []string{schema.AttrDpPublicListing, schema.AttrDpPublicAttribute},
		by:    []grant{{self, writable}, {admins, writable}, {frontend, readable}, {auditor, readable}},
	},
	{
		name:  "of listed entries everybody sees the public part, in which no name of another entry is",
		where: inTree, only: listed,
		attrs: []string{
			theEntry, schema.AttrObjectClass, schema.AttrCn, schema.AttrSn, schema.AttrGivenName, schema.AttrDisplayName,
			schema.AttrInitials, schema.AttrTitle, schema.AttrO, schema.AttrOu, schema.AttrMail, schema.AttrUserCertificate,
			schema.AttrUserSMIMECertificate,
		},
		by: []grant{{admins, writable}, {anyone, readable}},
	},
	{
		name:  "certificates and revocation lists of the authorities are public",
		where: []region{{WholeSubtree, "ou=authorities"}},
		attrs: []string{
			theEntry, schema.AttrObjectClass, schema.AttrCn, schema.AttrOu, schema.AttrCACertificate,
			schema.AttrCertificateRevocationList, schema.AttrAuthorityRevocationList,
		},
		by: []grant{{admins, writable}, {anyone, readable}},
	},
	{
		name: "of the containers everybody sees enough to search below them",
		where: []region{
			{BaseObject, ""}, {BaseObject, "ou=people"}, {BaseObject, "ou=groups"}, {BaseObject, "ou=roles"}, {BaseObject, "ou=authorities"},
		},
		attrs: []string{theEntry, schema.AttrObjectClass, schema.AttrOu, schema.AttrDc, schema.AttrO},
		by:    []grant{{admins, writable}, {anyone, readable}},
	},
	{
		name:  "operators find people",
		where: ofPeople,
		attrs: []string{theEntry, schema.AttrUid, schema.AttrCn, schema.AttrMail},
		by: []grant{
			{admins, writable}, {self, readable}, {frontend, readable}, {passwordOperator, readable}, {addressOperator, readable},
			{auditor, readable}, {anonymous, provable},
		},
	},
	{
		name:  "address operators find groups and roles",
		where: []region{{SingleLevel, "ou=groups"}, {SingleLevel, "ou=roles"}},
		attrs: []string{theEntry, schema.AttrCn, schema.AttrMail},
		by:    []grant{{frontend, readable}, {admins, writable}, {addressOperator, readable}, {auditor, readable}},
	},
	{
		name: "the rest: the own entry is readable, the frontend and auditors read all, administrators write all",
		by:   []grant{{admins, writable}, {self, readable}, {frontend, readable}, {auditor, readable}},
	},
}
