// Package gtid understands MariaDB's global transaction ids and the positions made of them, so that
// both ends of a call compare positions in the same way. It is pure: no I/O, no dependencies.
package gtid

import (
	"fmt"
	"strconv"
	"strings"
)

// GTID names one transaction: the domain it was logged in, the server that logged it, and its
// number in the domain. The sequence number alone orders the transactions of a domain.
type GTID struct {
	Domain   uint32
	ServerID uint32
	Sequence uint64
}

// Parse reads one GTID, "0-1-100".
func Parse(text string) (GTID, error) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return GTID{}, fmt.Errorf("malformed GTID %q: not domain-server-sequence", clip(text))
	}
	domain, err := number(parts[0], 32)
	if err != nil {
		return GTID{}, fmt.Errorf("malformed GTID %q: domain: %w", clip(text), err)
	}
	server, err := number(parts[1], 32)
	if err != nil {
		return GTID{}, fmt.Errorf("malformed GTID %q: server id: %w", clip(text), err)
	}
	sequence, err := number(parts[2], 64)
	if err != nil {
		return GTID{}, fmt.Errorf("malformed GTID %q: sequence: %w", clip(text), err)
	}
	return GTID{Domain: uint32(domain), ServerID: uint32(server), Sequence: sequence}, nil
}

// String is the GTID as MariaDB writes it.
func (g GTID) String() string {
	return strconv.FormatUint(uint64(g.Domain), 10) + "-" + strconv.FormatUint(uint64(g.ServerID),
		10) + "-" +
		strconv.FormatUint(g.Sequence, 10)
}

// number reads plain digits; strconv alone would take a sign.
func number(text string, bits int) (uint64, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is no number", clip(text))
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%q does not fit in %d bits", clip(text), bits)
	}
	return n, nil
}

// clip keeps hostile input out of messages.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
