package attest

import "errors"

// maxDepth is how deep a message may be nested; one with a certificate in it has some 12 levels.
const maxDepth = 16

var errNesting = errors.New("it is not a PKCS #7 message: its parts do not lie within one another")

// checkNesting refuses what the library must not get, for anybody may send it: of parts that reach
// out of the one that they are in, it reads the same bytes again for each of them, which takes for
// ever with a few hundred; and it reads past an end that cuts a length off.
func checkNesting(ber []byte) error {
	rest, err := afterPart(ber, 0)
	if err == nil && len(rest) > 0 {
		err = errNesting
	}
	return err
}

// afterPart is what comes after the part that the bytes begin with. Tags of more than a byte and
// lengths of more than two are in no signed document.
func afterPart(ber []byte, depth int) (rest []byte, err error) {
	if depth == maxDepth || len(ber) < 2 || ber[0]&0x1f == 0x1f {
		return nil, errNesting
	}
	constructed, length := ber[0]&0x20 != 0, int(ber[1])
	rest = ber[2:]
	switch {
	case ber[1] == 0x80:
		if !constructed {
			return nil, errNesting
		}
		return afterEndless(rest, depth)
	case ber[1] == 0x81 && len(rest) >= 1 && rest[0] != 0:
		length, rest = int(rest[0]), rest[1:]
	case ber[1] == 0x82 && len(rest) >= 2 && rest[0] != 0:
		length, rest = int(rest[0])<<8|int(rest[1]), rest[2:]
	case ber[1] > 0x80:
		return nil, errNesting
	}
	if length > len(rest) {
		return nil, errNesting
	}
	within, rest := rest[:length], rest[length:]
	for constructed && len(within) > 0 {
		if within, err = afterPart(within, depth+1); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// afterEndless is what comes after the parts of one whose length is not told: two zeros end it.
func afterEndless(ber []byte, depth int) (rest []byte, err error) {
	for {
		if ber, err = afterPart(ber, depth+1); err != nil {
			return nil, err
		}
		if len(ber) < 2 {
			return nil, errNesting
		}
		if ber[0] == 0 && ber[1] == 0 {
			return ber[2:], nil
		}
	}
}
