package provider

import (
	"regexp"
	"unicode"
	"unicode/utf8"
)

// Limits of what a request may carry.
const (
	// MaxTokenLength is in bytes.
	MaxTokenLength = 64
	// MaxTags is how many tags one thing may have.
	MaxTags = 50
	// MaxTagKey and MaxTagValue are in bytes.
	MaxTagKey   = 128
	MaxTagValue = 256
	// MaxUserData is in bytes, as in EC2.
	MaxUserData = 16 << 10

	// maxVolumeBytes is what the disks of any provider can be.
	maxVolumeBytes = 64 << 40
)

var hostName = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$`)

// Validate checks everything that needs no knowledge of the provider. ErrInvalid.
func (r CreateMachineRequest) Validate() error {
	if err := validateToken(r.ClientToken); err != nil {
		return err
	}
	if !hostName.MatchString(r.Name) {
		return Errorf(ErrInvalid, "", "machine name %.70q is not a host name: use up to 63 "+
			"letters, digits and inner hyphens", r.Name)
	}
	if r.Image == "" {
		return Errorf(ErrInvalid, "", "image is missing: name one of the provider's images")
	}
	if len(r.UserData) > MaxUserData {
		return Errorf(ErrInvalid, "", "user data has %d bytes: at most %d", len(r.UserData),
			MaxUserData)
	}
	return ValidateTags(r.Tags)
}

// Validate checks everything that needs no knowledge of the provider. ErrInvalid.
func (r CreateVolumeRequest) Validate() error {
	if err := validateToken(r.ClientToken); err != nil {
		return err
	}
	if r.SizeBytes != 0 || r.SnapshotID == "" {
		if err := ValidateSize(r.SizeBytes); err != nil {
			return err
		}
	}
	return ValidateTags(r.Tags)
}

// ValidateSize checks that a volume has whole sectors. What users may ask for is in the proto file.
// ErrInvalid.
func ValidateSize(bytes int64) error {
	if bytes <= 0 || bytes > maxVolumeBytes || bytes%512 != 0 {
		return Errorf(ErrInvalid, "",
			"volume size %d is not a number of sectors of 512 bytes, up to 64 TiB", bytes)
	}
	return nil
}

// ValidateTags checks number, length and characters of tags. ErrInvalid.
func ValidateTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return Errorf(ErrInvalid, "", "%d tags: at most %d", len(tags), MaxTags)
	}
	for key, value := range tags {
		if key == "" || len(key) > MaxTagKey || !printable(key) {
			return Errorf(ErrInvalid, "", "tag key %.140q is not 1 to %d printable characters", key,
				MaxTagKey)
		}
		if len(value) > MaxTagValue || !printable(value) {
			return Errorf(ErrInvalid, "", "value of tag %q is not at most %d printable characters",
				key, MaxTagValue)
		}
	}
	return nil
}

// Matches says whether tags hold everything that the filter asks for.
func (f Filter) Matches(tags map[string]string) bool {
	for key, want := range f.Tags {
		if got, ok := tags[key]; !ok || got != want {
			return false
		}
	}
	return true
}

func validateToken(token string) error {
	if token == "" || len(token) > MaxTokenLength {
		return Errorf(ErrInvalid, "", "client token has %d characters: 1 to %d are needed",
			len(token), MaxTokenLength)
	}
	for _, r := range token {
		if r < '!' || r > '~' {
			return Errorf(ErrInvalid, "",
				"client token %q holds a character that is not printable ASCII", token)
		}
	}
	return nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
