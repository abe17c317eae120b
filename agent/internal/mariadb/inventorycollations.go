package mariadb

import (
	"context"
	"unicode/utf16"
)

// lettersAtOnce are in one statement: MariaDB answers with no text that is longer than its
// max_allowed_packet.
const lettersAtOnce = 1800

// letters are those whose order tells two collations apart, in parts: of a character set with one
// byte a character, what it may have is among the first.
func letters(wide bool) []string {
	last := rune(0x700)
	if wide {
		last = 0x10000
	}
	var all []string
	var part []rune
	for r := ' '; r < last; r++ {
		if !utf16.IsSurrogate(r) {
			part = append(part, r)
		}
		if len(part) == lettersAtOnce || r == last-1 {
			all, part = append(all, string(part)), nil
		}
	}
	return all
}

// collations digests the order of those that are not built in: a file of the host has it, and two
// hosts may have two under one name. Those that are built in have the same order in each version.
// Rules for letters beyond the first 65536, and for several letters as one, are not looked at.
func (i *inventory) collations(ctx context.Context) error {
	rows, err := query(ctx, i.conn, "SELECT n.collation_name AS n, n.character_set_name AS c, "+
		"n.id AS id, s.maxlen AS bytes FROM information_schema.collations n "+
		"JOIN information_schema.character_sets s ON s.character_set_name = "+
		"n.character_set_name WHERE n.is_compiled <> 'Yes'")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !i.wants(r["n"]) {
			continue
		}
		o := Object{Kind: ObjectCollation, Name: r["n"]}
		sums := r["id"]
		for _, part := range letters(r.number("bytes") > 1) {
			weights, err := one(ctx, i.conn, "SELECT SHA2(HEX(WEIGHT_STRING(CONVERT("+
				literal(part)+" USING "+identifier(r["c"])+") COLLATE "+identifier(r["n"])+
				")), 256) AS d")
			if err != nil && !ofOneObject(err) {
				return err
			}
			if o.fail(err); err != nil {
				break
			}
			sums += "," + weights["d"]
		}
		if o.Problem == "" {
			o.Digest = digest(sums)
		}
		if err := i.each(o); err != nil {
			return err
		}
	}
	return nil
}
