package ec2lab

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

// What makes the 12 digits of the lab into the 17 of EC2, so that no table is needed.
const (
	ownDigits  = "0ec2a" // of what the lab has
	rootDigits = "0ec2b" // of the root volume of an instance, which the lab has not
	// DevicePattern is what a lab's devices must be called for this endpoint; see nspawn.Config.
	DevicePattern = "nvme-Amazon_Elastic_Block_Store_vol" + ownDigits + "{id}"
)

var idPattern = regexp.MustCompile(`^(i|vol|snap|ami|subnet|sg)-([0-9a-f]{8}|[0-9a-f]{17})$`)

// ec2ID is EC2's form of one of the lab's IDs.
func ec2ID(lab string) string {
	kind, digits, ok := strings.Cut(lab, "-")
	if !ok {
		return ""
	}
	return kind + "-" + ownDigits + digits
}

// labID is the lab's form of an ID; one that the lab cannot have stays a name of nothing.
func labID(kind, id string) (string, error) {
	if !idPattern.MatchString(id) || !strings.HasPrefix(id, kind+"-") {
		return "", malformed(kind, id)
	}
	digits, ok := strings.CutPrefix(id, kind+"-"+ownDigits)
	if !ok {
		return "", notFound(kind, id)
	}
	return kind + "-" + digits, nil
}

func rootVolume(instance string) string {
	return "vol-" + rootDigits + strings.TrimPrefix(instance, "i-"+ownDigits)
}

func isRootVolume(id string) bool { return strings.HasPrefix(id, "vol-"+rootDigits) }

// madeUpID is an ID of something that is only a name here.
func madeUpID(kind, name string) string { return kind + "-" + digest(name)[:17] }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
