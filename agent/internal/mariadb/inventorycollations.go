package mariadb

import "context"

// firstLetters are those whose order tells two collations apart: Latin, Greek, Cyrillic, Hebrew and
// Arabic ones, digits and signs.
func firstLetters() string {
	var letters []rune
	for r := ' '; r < 0x700; r++ {
		letters = append(letters, r)
	}
	return string(letters)
}

// collations digests the order of those that are not built in: a file of the host has it, and two
// hosts may have two under one name. Those that are built in have the same order in each version.
func (i *inventory) collations(ctx context.Context) error {
	rows, err := query(ctx, i.conn, "SELECT collation_name AS n, character_set_name AS c, id "+
		"FROM information_schema.collations WHERE is_compiled <> 'Yes' "+
		"AND character_set_name IS NOT NULL")
	if err != nil {
		return err
	}
	for _, r := range rows {
		if !i.wants(r["n"]) {
			continue
		}
		o := Object{Kind: ObjectCollation, Name: r["n"]}
		weights, err := one(ctx, i.conn, "SELECT SHA2(CONCAT("+literal(r["id"])+
			", HEX(WEIGHT_STRING(CONVERT("+literal(firstLetters())+" USING "+identifier(r["c"])+
			") COLLATE "+identifier(r["n"])+"))), 256) AS d")
		if err != nil && errno(err) == 0 {
			return err
		}
		o.Digest = weights["d"]
		o.fail(err)
		if err := i.each(o); err != nil {
			return err
		}
	}
	return nil
}
