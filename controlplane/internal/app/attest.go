package app

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/understudy-db/understudy/controlplane/internal/attest"
	"github.com/understudy-db/understudy/controlplane/internal/ca"
)

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// checkAttest holds the settings of attestation to each other.
func (c Config) checkAttest(fault func(bad bool, format string, args ...any)) {
	on := c.Attest != ""
	fault(on && c.Attest != attest.EC2Name, "attest: %q must be %s, or left out", c.Attest,
		attest.EC2Name)
	fault(on && c.Provider != "ec2", "attest: %s needs the provider ec2, which shows the machines",
		c.Attest)
	fault(on != (len(c.AttestAccounts) > 0), "attest_accounts: goes with attest, which needs it")
	fault(on != (c.AttestCertificates != ""), "attest_certificates: goes with attest, which "+
		"needs it")
	for _, id := range c.AttestAccounts {
		fault(!accountID.MatchString(id), "attest_accounts: %q is not the 12 digits of an account",
			id)
	}
	fault(!on && len(c.AttestNAT) > 0, "attest_nat: goes with attest, which is not set")
	if _, err := c.attestNAT(); err != nil {
		fault(true, "attest_nat: %v", err)
	}
	fault(c.AttestCertificates != "" && !filepath.IsAbs(c.AttestCertificates),
		"attest_certificates: %q is not an absolute path", c.AttestCertificates)
}

// widest is how many addresses a NAT may have, as the length of a prefix by the version of IP: more
// would be the addresses of strangers.
var widest = map[bool]int{true: 16, false: 48}

// attestNAT are the addresses from which machines come that are behind a NAT.
func (c Config) attestNAT() (nat []netip.Prefix, err error) {
	for _, text := range c.AttestNAT {
		prefix, err := netip.ParsePrefix(text)
		if alone, bare := netip.ParseAddr(text); bare == nil && alone.Zone() == "" {
			prefix, err = netip.PrefixFrom(alone, alone.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("%.60q is no address, and no range such as 203.0.113.0/28", text)
		}
		if least := widest[prefix.Addr().Is4()]; prefix.Bits() < least {
			return nil, fmt.Errorf("%s is wider than /%d: name the addresses of the NAT", prefix,
				least)
		}
		nat = append(nat, prefix.Masked())
	}
	return nat, nil
}

// region is where a provider works that has regions.
type region interface{ Region() string }

// newAttestor lets machines join that their provider signs for; nil without such a setting.
func newAttestor(cfg Config, cloud Provider, log *slog.Logger) (ca.Attestor, error) {
	if cfg.Attest == "" {
		return nil, nil
	}
	where, ok := cloud.(region)
	if !ok {
		return nil, fmt.Errorf("cannot attest machines: the provider %s has no regions",
			cloud.Name())
	}
	nat, err := cfg.attestNAT()
	if err != nil {
		return nil, fmt.Errorf("cannot use attest_nat: %w", err)
	}
	file, err := os.ReadFile(cfg.AttestCertificates)
	if err != nil {
		return nil, fmt.Errorf("cannot use attest_certificates: %w", err)
	}
	certificates, err := attest.Certificates(file)
	if err != nil {
		return nil, fmt.Errorf("cannot use attest_certificates (%s): %w: save the certificate of "+
			"your region from Amazon's page, from the tab RSA-2048", cfg.AttestCertificates, err)
	}
	if !attest.SomeValid(certificates, time.Now()) { // no reason for all else to stand still
		log.Error("no certificate of attest_certificates is valid now, and no machine joins by "+
			"attestation: save the newest of your region, and restart", "file",
			cfg.AttestCertificates)
	}
	return attest.NewEC2(attest.EC2Config{Accounts: cfg.AttestAccounts, Region: where.Region(),
		Certificates: certificates, Machines: cloud, NAT: nat, Log: log})
}
