from mlcompare import testing


class TestLoss(testing.LossTestCase):
    loss_name = "zoo_loss"


class TestDataset(testing.DatasetTestCase):
    name = "zoo_dataset"


class TestEncoder(testing.EncoderTestCase):
    name = "zoo_encoder"


class TestMetric(testing.MetricTestCase):
    name = "zoo_metric"


class TestSampler(testing.SamplerTestCase):
    name = "zoo_sampler"


class TestAugmentation(testing.AugmentationTestCase):
    name = "zoo_augmentation"


class TestOptimizer(testing.OptimizerTestCase):
    name = "zoo_optimizer"


class TestSchedule(testing.ScheduleTestCase):
    name = "zoo_schedule"


class TestBaseline(testing.BaselineTestCase):
    name = "zoo_baseline"


class TestTrainer(testing.TrainerTestCase):
    name = "zoo_trainer"
