package profile

import "github.com/dirpost/dirpost/schema"

// The profiles.
const (
	OpenLDAP        = "openldap"
	Embedded        = "embedded"
	DS389           = "389ds"
	FreeIPA         = "freeipa"
	ActiveDirectory = "ad"
	Qmail           = "qmail"
)

// A table is a profile as it is written down.
type table struct {
	Changes
	readOnly bool
	controls []string // sent with each search, by number
}

// domainScope asks Active Directory not to refer to its other partitions (LDAP_SERVER_DOMAIN_SCOPE_OID): at the root of a
// domain each search would end with three referrals, and a part is not the answer.
const domainScope = "1.2.840.113556.1.4.1339"

// everything is what an account may use where the directory has no place to say so.
var everything = []string{"submission", "imap", "pop3", "managesieve", "webmail"}

// absent are our attributes that a directory without our schema has no place for.
func absent(rows map[string]string) map[string]string {
	for _, a := range schema.Load().AttributeTypes {
		if name := a.Name(); len(name) > 2 && name[:2] == "dp" && rows[name] == "" {
			rows[name] = none
		}
	}
	return rows
}

// Of OpenLDAP 2.5 and 389-ds 2.3 the names were seen in running servers; those of FreeIPA, Active Directory and qmail-ldap
// are as their schemas publish them.
var tables = map[string]table{
	OpenLDAP: {},
	Embedded: {},

	// 389-ds has the OID of mailLocalAddress under another name. Its entryUUID is younger than the server, and what it tells
	// of changes is by nsUniqueId. Its pwdReset tells that a password must be changed and cannot be written; what counts is the
	// time that the password expires.
	DS389: {Changes: Changes{
		Attributes: map[string]string{
			schema.AttrMailLocalAddress: "mailAlternateAddress",
			schema.AttrRfc822MailMember: "mgrpRFC822MailMember",
			schema.AttrDpAccountStatus:  "nsAccountLock lock, dpAccountStatus",
			schema.AttrEntryUUID:        "nsUniqueId uuid",
			schema.AttrPwdChangedTime:   "pwdUpdateTime",
			schema.AttrPwdReset:         "passwordExpirationTime reset",
			schema.AttrEntryCSN:         "modifyTimestamp",
		},
		Classes: map[string]string{
			schema.ClassInetLocalMailRecipient: "mailRecipient",
		},
	}},

	// Users of the tree "compat" are the same once more, without addresses.
	FreeIPA: {readOnly: true, Changes: Changes{
		Attributes: absent(map[string]string{
			schema.AttrMailLocalAddress: "mail, mailAlternateAddress",
			schema.AttrRfc822MailMember: none,
			schema.AttrMailHost:         none,
			schema.AttrRoleOccupant:     none,
			schema.AttrDpAccountStatus:  "nsAccountLock lock",
			schema.AttrDpMailboxId:      "ipaUniqueID",
			schema.AttrDpCertSubject:    "ipaCertMapData x509-subject",
			schema.AttrEntryUUID:        "nsUniqueId uuid",
			schema.AttrPwdChangedTime:   "krbLastPwdChange",
			schema.AttrEntryCSN:         "modifyTimestamp",
		}),
		Classes: map[string]string{
			schema.ClassDpMailAccount:          "posixAccount mail=*",
			schema.ClassDpCertAuthority:        "pkiCA",
			schema.ClassInetLocalMailRecipient: none, schema.ClassDpMailRecipient: none, schema.ClassDpMailDomain: none,
			schema.ClassOrganizationalRole: none, schema.ClassDpAdminRole: none, schema.ClassDpSharedFolder: none,
		},
		Defaults: map[string][]string{
			schema.AttrDpAccountStatus: {"active"}, schema.AttrDpMailService: everything,
			schema.AttrDpCertTrust: {"subject"},
		},
	}},

	// modifyTimestamp is made up on the fly there and nothing can be found by it; whenChanged is stored.
	ActiveDirectory: {readOnly: true, controls: []string{domainScope}, Changes: Changes{
		Attributes: absent(map[string]string{
			schema.AttrUid:                "sAMAccountName, userPrincipalName",
			schema.AttrMailLocalAddress:   "mail, proxyAddresses smtp:",
			schema.AttrRfc822MailMember:   none,
			schema.AttrMailHost:           none,
			schema.AttrMailRoutingAddress: none,
			schema.AttrRoleOccupant:       none,
			schema.AttrAssociatedDomain:   none,
			schema.AttrOwner:              "managedBy",
			schema.AttrDpAccountStatus:    "userAccountControl disabled",
			schema.AttrDpMailboxId:        "objectGUID guid",
			schema.AttrDpCertSubject:      "altSecurityIdentities x509-subject",
			schema.AttrDpCertIssuerSerial: "altSecurityIdentities x509-serial",
			schema.AttrEntryUUID:          "objectGUID guid",
			schema.AttrEntryDN:            "distinguishedName",
			schema.AttrPwdChangedTime:     "pwdLastSet",
			schema.AttrEntryCSN:           "uSNChanged",
			schema.AttrModifyTimestamp:    "whenChanged time",
		}),
		Classes: map[string]string{
			schema.ClassDpMailAccount:          "user !computer mail=*",
			schema.ClassGroupOfNames:           "group",
			schema.ClassDpCertAuthority:        "certificationAuthority",
			schema.ClassInetLocalMailRecipient: none, schema.ClassDpMailRecipient: none, schema.ClassDpMailDomain: none,
			schema.ClassOrganizationalRole: none, schema.ClassDpAdminRole: none, schema.ClassDpSharedFolder: none,
		},
		Defaults: map[string][]string{
			schema.AttrDpMailService: everything,
			schema.AttrDpCertTrust:   {"subject", "issuerserial"},
		},
	}},

	Qmail: {readOnly: true, Changes: Changes{
		Attributes: absent(map[string]string{
			schema.AttrMailLocalAddress:   "mail, mailAlternateAddress",
			schema.AttrRfc822MailMember:   "rfc822member",
			schema.AttrMember:             "member, dnmember",
			schema.AttrMailRoutingAddress: none,
			schema.AttrDpAccountStatus:    "accountStatus qmail",
			schema.AttrDpForward:          "mailForwardingAddress",
			schema.AttrDpForwardKeep:      "deliveryMode forwardonly",
			schema.AttrDpQuotaBytes:       "mailQuotaSize",
			schema.AttrDpQuotaMessages:    "mailQuotaCount",
		}),
		Classes: map[string]string{
			schema.ClassDpMailAccount:          "qmailUser",
			schema.ClassGroupOfNames:           "groupOfNames, qmailGroup",
			schema.ClassInetLocalMailRecipient: none, schema.ClassDpMailRecipient: none, schema.ClassDpMailDomain: none,
			schema.ClassDpCertAuthority: none, schema.ClassDpAdminRole: none, schema.ClassDpSharedFolder: none,
		},
		Defaults: map[string][]string{
			schema.AttrDpAccountStatus: {"active"}, schema.AttrDpMailService: everything,
		},
	}},
}
