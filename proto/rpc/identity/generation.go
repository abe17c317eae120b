package identity

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/grpc/metadata"
)

// generationKey is the metadata of a call that has its control plane's generation.
const generationKey = "understudy-generation"

// WithGeneration lets calls to agents say which control plane makes them: of those with one
// certificate authority, one that was restored later has a higher generation.
func WithGeneration(ctx context.Context, generation int64) context.Context {
	return metadata.AppendToOutgoingContext(ctx, generationKey,
		strconv.FormatInt(generation, 10))
}

// GenerationOf is the generation that a control plane called with; 0 when the caller gave none, or
// is none.
func GenerationOf(ctx context.Context) (int64, error) {
	sent := metadata.ValueFromIncomingContext(ctx, generationKey)
	if len(sent) == 0 || PeerOf(ctx).Identity.Role != RoleControlPlane {
		return 0, nil
	}
	generation, err := strconv.ParseInt(sent[0], 10, 64)
	if err != nil || generation < 1 {
		return 0, fmt.Errorf("%s %.20q must be a positive number", generationKey, sent[0])
	}
	return generation, nil
}
